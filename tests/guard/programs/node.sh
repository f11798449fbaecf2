cat >job.js <<'J'
const http = require("http"), child = require("child_process"), fs = require("fs");
const server = http.createServer((q, r) => r.end("page")).listen(0, "127.0.0.1", () => {
  http.get({ port: server.address().port, host: "127.0.0.1" }, (r) => {
    let body = "";
    r.on("data", (d) => (body += d)).on("end", () => {
      if (body !== "page") process.exit(3);
      const cat = child.spawn("cat");
      let out = "";
      cat.stdout.on("data", (d) => (out += d));
      cat.on("close", () => {
        if (out.length !== 200000) process.exit(4);
        if (child.execSync("echo sync").toString() !== "sync\n") process.exit(5);
        child.spawn("sh", ["-c", "echo inherited"], { stdio: "inherit" }).on("close", (code) => {
          fs.writeFileSync("done", String(code));
          console.log("said " + "x".repeat(100000));
          console.error("warned");
          server.close();
        });
      });
      cat.stdin.end("x".repeat(200000));
    });
  });
});
J
"$@" node job.js
[ "$(cat done)" = 0 ]
