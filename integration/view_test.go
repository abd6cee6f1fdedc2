package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// view prints what a build can see of who runs it: ids, owners, modes, environment, limits and mount points. An ordinary
// user's supplementary groups are left out: without privilege they cannot be dropped.
const view = `hdjail: 1
name: view
host: {packages: [coreutils, dash, grep]}
script: |
  {
    id
    env | sort
    ls -lan --time-style=+ / /etc /usr/bin /dev /tmp /build | grep -v ' proc$' # counts processes
    grep -E '^(Uid|Gid|Cap|NoNew|Seccomp)' /proc/self/status
    ulimit -a
    while read a b c d mount flags rest; do echo "$mount"; done < /proc/self/mountinfo | sort
    umask; pwd; uname -n
  } > "$ARTIFACT/view"
`

// TestSameViewForAll builds one spec at one store path as root and as an ordinary user: identity, tree digest and so the
// whole view are the same.
func TestSameViewForAll(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("only root can build as two users; the ordinary user's view is in the escape table")
		return
	}
	dir := openDir(t, "root")
	spec := filepath.Join(dir, "view.yaml")
	if err := os.WriteFile(spec, []byte(view), 0o644); err != nil {
		t.Fatal(err)
	}
	store := filepath.Join(dir, "store")
	results := map[string]string{}
	for _, user := range who {
		prepare := "mkdir " + store
		if user == "user" { // whose identity the script tells
			id, err := as(t, user, "id", "-u").Output()
			if err != nil {
				t.Fatal(err)
			}
			prepare += " && chown " + strings.TrimSpace(string(id)) + " " + store
		}
		if out, err := exec.Command("sh", "-c", prepare).CombinedOutput(); err != nil {
			t.Fatalf("%s", out)
		}
		var messages strings.Builder
		command := as(t, user, hdjail, "--store", store, "build", "--json", spec)
		command.Stderr = &messages
		out, err := command.Output()
		if err != nil {
			t.Fatalf("as %s: %v: %s", user, err, messages.String())
		}
		results[user] = strings.SplitN(string(out), `"path"`, 2)[0]
		content, err := exec.Command("sh", "-c", "cat "+store+"/store/*/view; rm -rf "+store).Output()
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("as %s:\n%s", user, content)
	}
	if results["root"] != results["user"] {
		t.Errorf("root built %s, an ordinary user %s", results["root"], results["user"])
	}
}
