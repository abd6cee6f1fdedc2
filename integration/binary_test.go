package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"hdjail/integration/binary"
)

// hdjail is the binary under test, in a place that every user can read: HDJAIL_BIN, or one built for this run.
var hdjail string

func TestMain(m *testing.M) { os.Exit(binary.Main(m, &hdjail)) }

// who runs a command: as root when the tests do, and as an ordinary user always.
var who = []string{"root", "user"}

// as returns a command that runs args as root or as an ordinary user. A row for root is left out where the tests run as
// somebody else: those rows are the user's.
func as(t *testing.T, user string, args ...string) *exec.Cmd {
	t.Helper()
	if user == "root" && os.Geteuid() != 0 {
		return nil
	}
	if user == "user" {
		script, err := filepath.Abs("../scripts/as-user")
		if err != nil {
			t.Fatal(err)
		}
		args = append([]string{script}, args...)
	}
	return exec.Command(args[0], args[1:]...)
}

// openDir is a new directory that belongs to the user and that everybody can reach.
func openDir(t *testing.T, user string) string {
	t.Helper()
	parent, err := os.MkdirTemp("", "hdjail-"+user+"-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("rm", "-rf", parent).CombinedOutput(); err != nil {
			t.Errorf("remove %s: %s", parent, out)
		}
	})
	if err := os.Chmod(parent, 0o755); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(parent, "d")
	if out, err := exec.Command("mkdir", dir).CombinedOutput(); err != nil {
		t.Fatal(string(out))
	}
	if c := as(t, user, "id", "-u"); user == "user" && os.Geteuid() == 0 {
		id, err := c.Output()
		if err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("chown", strings.TrimSpace(string(id)), dir).CombinedOutput(); err != nil {
			t.Fatal(string(out))
		}
	}
	return dir
}
