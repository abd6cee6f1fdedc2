package integration

import (
	"os"
	"os/exec"
	"testing"
)

// setting is who runs a jail in which mode.
type setting struct{ mode, user string }

// settings are those in which each observed run is made: both modes and both users, and with HDJAIL_TEST_OBSERVE=all each
// mode with each user, which takes twice as long.
func settings() (list []setting) {
	for _, mode := range []string{"log", "hide"} {
		for _, user := range who {
			root := os.Geteuid() == 0
			if user == "root" && !root || root && !everything() && (mode == "log") != (user == "root") {
				continue
			}
			list = append(list, setting{mode, user})
		}
	}
	return list
}

// everything reports whether long tests are wanted.
func everything() bool { return os.Getenv("HDJAIL_TEST_OBSERVE") == "all" }

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
