package store

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestOrderOnDisk has strace watch a registration: what was written is on disk before it gets its name, and its names are
// before anybody is told of it.
func TestOrderOnDisk(t *testing.T) {
	if root := os.Getenv("HDJAIL_TEST_ORDER"); root != "" {
		s := reopen(t, root, Options{})
		s.ordered = os.Getenv("HDJAIL_TEST_UNORDERED") == ""
		r, err := run(s, sample("a"), map[string]string{"d/f": "content"})
		must(t, err)
		fmt.Println("registered", r.ID)
		return
	}
	if _, err := exec.LookPath("strace"); err != nil {
		if os.Getenv("HDJAIL_TEST_NO_SKIP") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	for _, ordered := range []bool{true, false} {
		s := open(t, Options{})
		trace := filepath.Join(t.TempDir(), "trace")
		child := exec.Command("strace", "-f", "-y", "-o", trace, "-e", "trace=write,pwrite64,rename,renameat,renameat2,symlinkat,syncfs,fsync",
			os.Args[0], "-test.run=^TestOrderOnDisk$")
		child.Env = append(os.Environ(), "HDJAIL_TEST_ORDER="+s.root)
		if !ordered {
			child.Env = append(child.Env, "HDJAIL_TEST_UNORDERED=1")
		}
		if out, err := child.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		text, err := os.ReadFile(trace)
		must(t, err)
		checkOrder(t, s.root, string(text), ordered)
	}
}

var (
	// A call that strace cuts in two counts where it begins, but one that brings things to the disk where it ends.
	published = regexp.MustCompile(`(?:rename\w*|symlinkat)\(.*"(?:[^"]*)/(realizations/[a-z2-7]{32}|builds/[a-z2-7]{32}/\d+|store/[^"/]+)"`)
	wrote     = regexp.MustCompile(`p?write(?:64)?\(\d+<([^>]*)>`)
	synced    = regexp.MustCompile(`(?:syncfs|fsync)\(\d+<([^>]*)>\)\s+= 0|(syncfs|fsync) resumed>.*= 0`)
)

// checkOrder reads a trace of one registration in the store at root.
func checkOrder(t *testing.T, root, trace string, ordered bool) {
	t.Helper()
	unsynced, names := "", []string{}
	whole := false // what was written is on disk
	var dirs []string
	told := false
	for _, line := range strings.Split(trace, "\n") {
		if m := wrote.FindStringSubmatch(line); m != nil && strings.HasPrefix(m[1], root+"/tmp/") {
			unsynced, whole = m[1], false
		}
		if m := synced.FindStringSubmatch(line); m != nil {
			whole = whole || strings.Contains(line, "syncfs") && (m[1] == root || m[1] == "")
			dirs = append(dirs, strings.TrimPrefix(m[1], root+"/"))
		}
		if m := published.FindStringSubmatch(line); m != nil && strings.Contains(line, root) {
			names, dirs = append(names, m[1]), nil
			if !whole {
				t.Errorf("%s gets its name before %s is on disk", m[1], unsynced)
			}
		}
		if strings.Contains(line, `"registered `) {
			told = true
			break
		}
	}
	if !told || len(names) != 3 || !strings.HasPrefix(names[0], "realizations/") || !strings.HasPrefix(names[1], "store/") || !strings.HasPrefix(names[2], "builds/") {
		t.Fatalf("published in this order: %q (told %v)", names, told)
	}
	want := []string{"builds"}
	if !ordered {
		want = []string{filepath.Dir(names[2]), "builds", "realizations", "store", "derivations"}
	}
	if strings.Join(dirs, " ") != strings.Join(want, " ") {
		t.Errorf("told after the sync of %q, want %q", dirs, want)
	}
}
