// Package binary has the hdjail that tests of the built program run. It is no part of the product.
package binary

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Main puts the binary under test where every user can read it, HDJAIL_BIN or one built for this run, and its path at hdjail. It runs
// the tests and returns their status, for TestMain.
func Main(m *testing.M, hdjail *string) int {
	dir, err := os.MkdirTemp("", "hdjail-integration-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		panic(err)
	}
	*hdjail = filepath.Join(dir, "hdjail")
	command := exec.Command("go", "build", "-tags", "seccomp osusergo netgo runc_nocriu urfave_cli_no_docs", "-o", *hdjail, "hdjail/cmd/hdjail")
	if built := os.Getenv("HDJAIL_BIN"); built != "" {
		command = exec.Command("cp", built, *hdjail)
	}
	if out, err := command.CombinedOutput(); err != nil {
		panic(string(out))
	}
	return m.Run()
}
