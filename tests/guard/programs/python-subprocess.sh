cat >job.py <<'P'
import os, subprocess, socket, fcntl, sys, tempfile
assert subprocess.run(["tr", "a-z", "A-Z"], input=b"one", stdout=subprocess.PIPE).stdout == b"ONE"
assert subprocess.check_output("echo out; echo err >&2", shell=True, stderr=subprocess.STDOUT) == b"out\nerr\n"
subprocess.run("echo said; echo warned >&2", shell=True, check=True)
assert os.popen("echo popen").read() == "popen\n"
with open("file", "w+") as f:
    fcntl.flock(f, fcntl.LOCK_EX)
    f.write("line\n"); f.flush(); f.seek(0)
    assert f.read() == "line\n"
s = socket.create_server(("127.0.0.1", 0))
c = socket.create_connection(s.getsockname()); c.setblocking(False)
socket.getaddrinfo("localhost", 80)
os.listdir("/")
P
"$@" /usr/bin/python3 job.py
