package store

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"hdjail/artifact"
	"hdjail/artifact/tree"
)

// TestKilled kills a process that registers without end, each time at another moment. After a sweep nothing is left in
// tmp/, every realization is whole and has a record, and the next registration succeeds.
func TestKilled(t *testing.T) {
	if root := os.Getenv("HDJAIL_TEST_KILLED"); root != "" {
		s := reopen(t, root, Options{})
		for i := 0; ; i++ {
			_, err := run(s, sample(fmt.Sprint("k", i%7)), map[string]string{"d/f": fmt.Sprint(os.Getpid(), i)})
			must(t, err)
			fmt.Println("registered")
		}
	}
	s := open(t, Options{})
	for round := range 8 {
		child := exec.Command(os.Args[0], "-test.run=^TestKilled$")
		child.Env = append(os.Environ(), "HDJAIL_TEST_KILLED="+s.root)
		out, err := child.StdoutPipe()
		must(t, err, child.Start())
		lines := bufio.NewScanner(out)
		for range round + 1 {
			if !lines.Scan() {
				t.Fatal("the child ended early")
			}
		}
		must(t, child.Process.Kill())
		_ = child.Wait() // it was killed
		_, err = s.Sweep(context.Background())
		must(t, err)
		noTemporaries(t, s)
		verify(t, s)
	}
	_, err := run(s, sample("k0"), map[string]string{"f": "after"})
	must(t, err)
}

// verify digests every tree of the store, and looks for its record and public path.
func verify(t *testing.T, s *Store) {
	t.Helper()
	entries, err := os.ReadDir(s.path("realizations"))
	must(t, err)
	for _, e := range entries {
		id, err := artifact.ParseRealizationID(e.Name())
		must(t, err)
		r, err := s.Realization(id)
		must(t, err)
		digest, err := tree.DigestPath(context.Background(), s.OutPath(id))
		must(t, err)
		if digest != r.Tree || len(r.Records) == 0 || r.Records[0].Number == 0 {
			t.Errorf("%s: digest %s, want %s; %d records", id, digest, r.Tree, len(r.Records))
		}
		d, err := s.Derivation(r.Derivation)
		must(t, err)
		if _, err := os.Stat(s.path("store", d.StoreName())); err != nil {
			t.Error(err)
		}
	}
}
