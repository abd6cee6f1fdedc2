package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// bundle is the smallest configuration that runc accepts for the namespaces that a jail has.
const bundle = `{
  "ociVersion": "1.0.2",
  "process": {"user": {"uid": 0, "gid": 0}, "args": ["/true"], "cwd": "/", "noNewPrivileges": true},
  "root": {"path": "rootfs", "readonly": true},
  "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}, {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"}],
  "linux": {
    "namespaces": [{"type": "user"}, {"type": "mount"}, {"type": "pid"}, {"type": "ipc"}, {"type": "uts"}, {"type": "network"}, {"type": "cgroup"}],
    "uidMappings": [{"containerID": 0, "hostID": 0, "size": 1}],
    "gidMappings": [{"containerID": 0, "hostID": 0, "size": 1}]
  }
}`

// measureStart compares how long a jail takes around a program that does nothing.
func (b *bench) measureStart() error {
	oci, err := b.makeBundle()
	if err != nil {
		return err
	}
	return b.compare(table{
		title:  "a jailed /bin/true",
		rounds: 4 * b.rounds,
		contenders: []contender{
			{name: "hdjail run -- /bin/true", asked: target{max: 25 * time.Millisecond}, run: func(int) (time.Duration, error) {
				return b.jailed("run", "--", "/bin/true")
			}},
			{name: "hdjail run --host coreutils", asked: target{max: 25 * time.Millisecond}, run: func(int) (time.Duration, error) {
				return b.jailed("run", "--host", "coreutils", "--", "/bin/true")
			}},
			{name: "bwrap", needs: "bwrap", run: func(int) (time.Duration, error) {
				return b.timed("bwrap", "--unshare-all", "--unshare-user", "--die-with-parent", "--ro-bind", "/", "/",
					"--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "/bin/true")
			}},
			{name: "runc run", needs: "runc", run: func(int) (time.Duration, error) {
				return b.timed("runc", "--root", filepath.Join(b.dir, "runc"), "run", "--bundle", oci, "hdjail-bench")
			}},
			{name: "/bin/true alone", run: func(int) (time.Duration, error) { return b.timed("/bin/true") }},
		},
	})
}

// makeBundle makes an OCI bundle around a static program that does nothing.
func (b *bench) makeBundle() (string, error) {
	oci := filepath.Join(b.dir, "oci")
	root := filepath.Join(oci, "rootfs")
	for _, dir := range []string{root, filepath.Join(root, "proc"), filepath.Join(root, "dev")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return "", err
		}
	}
	source := filepath.Join(oci, "true.c")
	if err := os.WriteFile(source, []byte("int main(void) { return 0; }\n"), 0o644); err != nil {
		return "", err
	}
	if err := exec.CommandContext(b.ctx, "gcc", "-static", "-o", filepath.Join(root, "true"), source).Run(); err != nil {
		return "", err
	}
	return oci, os.WriteFile(filepath.Join(oci, "config.json"), []byte(bundle), 0o644)
}
