// Package packages builds what is published, looks into it, and installs and removes it with the programs that users have for
// that.
package packages

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"debug/buildinfo"
	"debug/elf"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/safeexec/safeexec/internal/proctest"
)

const version = "1.2.3"

// machines are the architectures, as Go, RPM and ELF call them.
var machines = []struct {
	arch, rpm string
	elf       elf.Machine
}{{"amd64", "x86_64", elf.EM_X86_64}, {"arm64", "aarch64", elf.EM_AARCH64}}

// own is the machine that this test runs on.
func own(t *testing.T) (arch, rpm string) {
	t.Helper()
	for _, m := range machines {
		if m.arch == run(t, "go", "env", "GOARCH") {
			return m.arch, m.rpm
		}
	}
	t.Fatal("there are no packages for this machine")
	return "", ""
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(proctest.NeedTool(t, name), args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "VERSION=v"+version, "SOURCE_DATE_EPOCH=1700000000")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s%s", cmd.Args, err, out, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

// TestPackages builds everything once, which takes Go.
func TestPackages(t *testing.T) {
	dir := t.TempDir()
	run(t, "sh", "../../scripts/release", dir)
	t.Run("Checksums", func(t *testing.T) { testChecksums(t, dir) })
	t.Run("Archive", func(t *testing.T) { testArchive(t, dir) })
	t.Run("SBOM", func(t *testing.T) { testSBOM(t, dir) })
	t.Run("DebFields", func(t *testing.T) { testDebFields(t, dir) })
	t.Run("Deb", func(t *testing.T) { testDeb(t, dir) })
	t.Run("RPM", func(t *testing.T) { testRPM(t, dir) })
}

func testChecksums(t *testing.T, dir string) {
	list, err := os.ReadFile(dir + "/SHA256SUMS")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(string(list)) {
		sum, name, _ := strings.Cut(strings.TrimSpace(line), "  ")
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if want := sha256.Sum256(data); sum != hex.EncodeToString(want[:]) {
			t.Errorf("%s: checksum %s, want %x", name, sum, want)
		}
		got = append(got, name)
	}
	var want []string
	for _, m := range machines {
		want = append(want,
			fmt.Sprintf("safeexec-%s-1.%s.rpm", version, m.rpm), fmt.Sprintf("safeexec-%s-linux-%s.cdx.json", version, m.arch),
			fmt.Sprintf("safeexec-%s-linux-%s.tar.gz", version, m.arch), fmt.Sprintf("safeexec_%s_%s.deb", version, m.arch))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// unpack writes an archive's regular files into a directory, and returns all names without the first directory.
func unpack(t *testing.T, archive, to string) (names []string) {
	t.Helper()
	file, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	zipped, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	for reader := tar.NewReader(zipped); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return names
		}
		if err != nil {
			t.Fatal(err)
		}
		if header.Uid != 0 || header.Gid != 0 || header.Mode&0o022 != 0 || header.ModTime.Unix() != 1700000000 {
			t.Errorf("%+v", header)
		}
		_, name, _ := strings.Cut(header.Name, "/")
		names = append(names, name)
		if header.Typeflag == tar.TypeReg {
			data, err := io.ReadAll(reader)
			target := filepath.Join(to, name)
			if err := errors.Join(err, os.MkdirAll(filepath.Dir(target), 0o755), os.WriteFile(target, data, header.FileInfo().Mode())); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// The binary in each archive is for its machine, and static.
func testArchive(t *testing.T, dir string) {
	for _, m := range machines {
		to := t.TempDir()
		names := unpack(t, fmt.Sprintf("%s/safeexec-%s-linux-%s.tar.gz", dir, version, m.arch), to)
		for _, want := range []string{
			"share/man/man1/safeexec.1", "share/bash-completion/completions/safeexec", "share/zsh/site-functions/_safeexec",
			"share/fish/vendor_completions.d/safeexec.fish", "share/doc/safeexec/docs/guard.md", "share/doc/safeexec/copyright",
		} {
			if !slices.Contains(names, want) {
				t.Errorf("%s: %s isn't in %q", m.arch, want, names)
			}
		}
		binary, err := elf.Open(to + "/bin/safeexec")
		if err != nil {
			t.Fatal(err)
		}
		defer binary.Close()
		needs, err := binary.ImportedLibraries()
		dynamic := slices.ContainsFunc(binary.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC })
		if binary.Machine != m.elf || dynamic || len(needs) > 0 {
			t.Errorf("%s: machine %v, dynamic %v, needs %q, %v", m.arch, binary.Machine, dynamic, needs, err)
		}
		if copyright, err := os.ReadFile(to + "/share/doc/safeexec/copyright"); err != nil ||
			strings.Count(string(copyright), "Copyright") < 3 || !strings.Contains(string(copyright), "--- golang.org/x/sys, and Go's") {
			t.Errorf("%v %s", err, copyright)
		}
	}
	arch, _ := own(t)
	to := t.TempDir()
	unpack(t, fmt.Sprintf("%s/safeexec-%s-linux-%s.tar.gz", dir, version, arch), to)
	if out := run(t, to+"/bin/safeexec", "--version"); out != "safeexec v"+version {
		t.Errorf("%q", out)
	}
}

// The list names what the go command has recorded, and the binary by its checksum.
func testSBOM(t *testing.T, dir string) {
	for _, m := range machines {
		data, err := os.ReadFile(fmt.Sprintf("%s/safeexec-%s-linux-%s.cdx.json", dir, version, m.arch))
		if err != nil {
			t.Fatal(err)
		}
		type component struct {
			Type, Name, Version, PURL string
			Ref                       string `json:"bom-ref"`
			Hashes                    []struct{ Alg, Content string }
		}
		var list struct {
			BOMFormat, SpecVersion, SerialNumber string
			Metadata                             struct {
				Timestamp string
				Component component
			}
			Components   []component
			Dependencies []struct {
				Ref       string
				DependsOn []string
			}
		}
		if err := json.Unmarshal(data, &list); err != nil {
			t.Fatal(err)
		}
		to := t.TempDir()
		unpack(t, fmt.Sprintf("%s/safeexec-%s-linux-%s.tar.gz", dir, version, m.arch), to)
		binary, err := os.ReadFile(to + "/bin/safeexec")
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(binary)
		c := list.Metadata.Component
		if list.BOMFormat != "CycloneDX" || list.SpecVersion != "1.5" || !strings.HasPrefix(list.SerialNumber, "urn:uuid:") ||
			list.Metadata.Timestamp != "2023-11-14T22:13:20Z" || c.Type != "application" || c.Version != "v"+version ||
			len(c.Hashes) != 1 || c.Hashes[0].Alg != "SHA-256" || c.Hashes[0].Content != hex.EncodeToString(sum[:]) {
			t.Errorf("%s", data)
		}
		info, err := buildinfo.ReadFile(to + "/bin/safeexec")
		if err != nil {
			t.Fatal(err)
		}
		want := []string{"pkg:golang/std@" + strings.TrimPrefix(info.GoVersion, "go")}
		for _, d := range info.Deps {
			want = append(want, "pkg:golang/"+d.Path+"@"+d.Version)
		}
		var got, refs []string
		for _, c := range list.Components {
			got, refs = append(got, c.PURL), append(refs, c.Ref)
		}
		if !slices.Equal(got, want) || len(got) < 3 {
			t.Errorf("components %q, want %q", got, want)
		}
		last := list.Dependencies[len(list.Dependencies)-1]
		if len(list.Dependencies) != len(refs)+1 || last.Ref != c.Ref || !slices.Equal(last.DependsOn, refs) {
			t.Errorf("dependencies %+v", list.Dependencies)
		}
	}
}

func testDebFields(t *testing.T, dir string) {
	for _, m := range machines {
		deb := fmt.Sprintf("%s/safeexec_%s_%s.deb", dir, version, m.arch)
		for field, want := range map[string]string{"Package": "safeexec", "Version": version, "Architecture": m.arch, "Depends": ""} {
			if got := run(t, "dpkg-deb", "--field", deb, field); got != want {
				t.Errorf("%s: %s is %q, want %q", m.arch, field, got, want)
			}
		}
	}
}

// files lists what isn't a directory below a root, without what the package managers keep for themselves.
func files(t *testing.T, root string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		name := strings.TrimPrefix(path, root)
		if err != nil || strings.HasPrefix(name, "/var/") {
			return err
		}
		info, err := entry.Info()
		switch {
		case err != nil:
		case entry.IsDir() && info.Mode().Perm() != 0o755 && name != "":
			t.Errorf("%s: %v", name, info.Mode())
		case !entry.IsDir():
			names = append(names, fmt.Sprintf("%v %s", info.Mode(), name))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// checkInstalled looks at what every package must have brought, and uses it.
func checkInstalled(t *testing.T, root, zsh string) {
	t.Helper()
	installed := files(t, root)
	for _, want := range []string{
		"-rwxr-xr-x /usr/bin/safeexec",
		"-rw-r--r-- /usr/share/bash-completion/completions/safeexec",
		"-rw-r--r-- /usr/share/doc/safeexec/README.md",
		"-rw-r--r-- /usr/share/doc/safeexec/copyright",
		"-rw-r--r-- /usr/share/doc/safeexec/docs/guard.md",
		"-rw-r--r-- /usr/share/fish/vendor_completions.d/safeexec.fish",
		"-rw-r--r-- /usr/share/man/man1/safeexec-doctor.1.gz",
		"-rw-r--r-- /usr/share/man/man1/safeexec.1.gz",
		"-rw-r--r-- /usr/share/zsh/" + zsh + "/_safeexec",
	} {
		if !slices.Contains(installed, want) {
			t.Errorf("%s isn't in\n%s", want, strings.Join(installed, "\n"))
		}
	}
	if out := run(t, root+"/usr/bin/safeexec", "--", "echo", "it runs"); out != "it runs" {
		t.Errorf("%q", out)
	}
	if out := run(t, "man", "-M", root+"/usr/share/man", "-P", "cat", "safeexec"); !strings.Contains(out, "safeexec v"+version) {
		t.Error(out)
	}
}

func testDeb(t *testing.T, dir string) {
	proctest.NeedRoot(t)
	arch, _ := own(t)
	root := t.TempDir()
	for _, name := range []string{"info", "updates", "triggers"} {
		if err := os.MkdirAll(root+"/var/lib/dpkg/"+name, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"status", "available"} {
		if err := os.WriteFile(root+"/var/lib/dpkg/"+name, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	dpkg := func(args ...string) string {
		return run(t, "dpkg", append([]string{"--root=" + root, "--log=/dev/null"}, args...)...)
	}
	dpkg("--install", fmt.Sprintf("%s/safeexec_%s_%s.deb", dir, version, arch))
	checkInstalled(t, root, "vendor-completions")
	if out := dpkg("--verify", "safeexec"); out != "" {
		t.Error(out)
	}
	if out := dpkg("--listfiles", "safeexec"); !strings.Contains(out, "/usr/bin/safeexec") {
		t.Error(out)
	}
	dpkg("--purge", "safeexec")
	if left := files(t, root); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func testRPM(t *testing.T, dir string) {
	proctest.NeedRoot(t)
	_, arch := own(t)
	root := t.TempDir()
	rpm := func(args ...string) string {
		return run(t, "rpm", append([]string{"--root=" + root, "--dbpath=/var/lib/rpm"}, args...)...)
	}
	rpm("--initdb")
	rpm("--install", fmt.Sprintf("%s/safeexec-%s-1.%s.rpm", dir, version, arch))
	checkInstalled(t, root, "site-functions")
	if out := rpm("--query", "--all"); out != "safeexec-"+version+"-1."+arch {
		t.Errorf("%q", out)
	}
	if out := rpm("--verify", "safeexec"); out != "" {
		t.Error(out)
	}
	for line := range strings.Lines(rpm("--query", "--requires", "safeexec")) {
		if !strings.HasPrefix(line, "rpmlib(") {
			t.Errorf("a static binary requires %s", line)
		}
	}
	rpm("--erase", "safeexec")
	if left := files(t, root); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}
