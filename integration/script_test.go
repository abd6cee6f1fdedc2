package integration

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestScripts runs testdata/script/*.txt, each with a store of its own at $HDJAIL_STORE; $EXAMPLES is the directory of examples. The language is that of
// github.com/rogpeppe/go-internal/testscript, and two commands:
//
//	hdjail ARG...         runs the program, which has to succeed
//	fails STATUS ARG...   runs the program, which has to end with the status
//
// and one condition: [root], if the tests run as root.
func TestScripts(t *testing.T) {
	examples, err := filepath.Abs("../examples")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", filepath.Dir(hdjail)+":"+os.Getenv("PATH"))
			env.Setenv("HDJAIL_STORE", filepath.Join(env.WorkDir, "store"))
			env.Setenv("EXAMPLES", examples)
			env.Setenv("UID", strconv.Itoa(os.Geteuid()))
			return errors.Join(os.Chmod(filepath.Dir(env.WorkDir), 0o755), os.Chmod(env.WorkDir, 0o755))
		},
		Condition: func(name string) (bool, error) {
			if name != "root" {
				return false, errors.New("unknown condition " + name)
			}
			return os.Geteuid() == 0, nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"hdjail": succeeds, "fails": fails},
	})
}

func succeeds(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("say how it fails: fails STATUS ARG...")
	}
	ts.Check(ts.Exec(hdjail, args...))
}

func fails(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[0])
	if neg || err != nil || want == 0 {
		ts.Fatalf("usage: fails STATUS ARG...")
	}
	var exit *exec.ExitError
	if err := ts.Exec(hdjail, args[1:]...); !errors.As(err, &exit) || exit.ExitCode() != want {
		ts.Fatalf("hdjail %q: %v; want exit status %d", args[1:], err, want)
	}
}
