package integration

import (
	"bytes"
	"os"
	"os/exec"
	"testing"
)

// needObserver ends the test where the binary cannot write an audit. HDJAIL_TEST_OBSERVER=1 makes that a failure.
func needObserver(t *testing.T) {
	t.Helper()
	help, err := exec.Command(hdjail, "run", "--help").CombinedOutput()
	switch {
	case err != nil:
		t.Fatalf("%v: %s", err, help)
	case bytes.Contains(help, []byte("--audit")):
	case os.Getenv("HDJAIL_TEST_OBSERVER") != "":
		t.Fatal("hdjail run has no --audit")
	default:
		t.Skip("hdjail run has no --audit yet")
	}
}

// needProgram ends the test where a program is not installed that scripts/needs lists as optional.
func needProgram(t *testing.T, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		if os.Getenv("HDJAIL_TEST_NO_SKIP") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
}
