package gc

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"hdjail/artifact"
	"hdjail/artifact/lease"
	"hdjail/artifact/store"
)

// TestKilled kills a process that registers chains and collects them without end, each time at another moment. After a
// sweep the store is whole and nothing is left in tmp/, and the next collection goes on.
func TestKilled(t *testing.T) {
	ctx := context.Background()
	if root := os.Getenv("HDJAIL_TEST_KILLED"); root != "" {
		s, err := store.Open(root, store.Options{})
		must(t, err)
		for i := 0; ; i++ {
			d := sample(fmt.Sprint("d", i%3))
			r, err := register(s, d, nil, fmt.Sprint(i))
			must(t, err)
			for k := range 4 {
				next := sample(fmt.Sprintf("d%d-%d", i%3, k), d.ID())
				r, err = register(s, next, artifact.Context{d.ID(): {r.ID}}, fmt.Sprint(i))
				must(t, err)
				d = next
			}
			fmt.Println("registered")
			_, err = Collect(ctx, s, all, noRoots, lease.Options{})
			must(t, err)
			fmt.Println("collected")
		}
	}
	s := openStore(t)
	for round := range 10 {
		child := exec.Command(os.Args[0], "-test.run=^TestKilled$")
		child.Env = append(os.Environ(), "HDJAIL_TEST_KILLED="+s.Root())
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
		_, err = s.Sweep(ctx)
		must(t, err)
		checkStore(t, s)
		if left, err := os.ReadDir(s.TmpDir()); err != nil || len(left) > 0 {
			t.Errorf("%d entries are left in tmp/ (%v)", len(left), err)
		}
	}
	_, err := Collect(ctx, s, all, noRoots, lease.Options{})
	must(t, err)
	if left, err := s.RealizationIDs(); err != nil || len(left) > 0 {
		t.Errorf("%v is left (%v)", left, err)
	}
}
