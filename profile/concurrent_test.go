package profile

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"hdjail/artifact"
	"hdjail/artifact/lease"
)

func TestConcurrentGoroutines(t *testing.T) {
	f := newFixture(t)
	f.link("p", Edit{})
	stop, watched := make(chan struct{}), make(chan error, 1)
	go func() { watched <- watch(f, stop) }()
	var wait sync.WaitGroup
	for i := range 8 {
		a := f.artifact(fmt.Sprint("a", i), "1", fmt.Sprint("bin/", i), fmt.Sprint("lib/", i))
		wait.Go(func() { f.link("p", Edit{Add: []Artifact{a}}) })
	}
	wait.Wait()
	close(stop)
	if err := <-watched; err != nil {
		t.Error(err)
	}
	f.wantComplete(8)
}

// watch reads the current generation again and again: it has as many links as its record says.
func watch(f fixture, stop chan struct{}) error {
	for {
		select {
		case <-stop:
			return nil
		default:
		}
		tree, err := filepath.EvalSymlinks(f.Path("p"))
		if err != nil {
			return err
		}
		file, err := os.Open(filepath.Join(tree, "../generation.json"))
		if err != nil {
			return err
		}
		g, err := readGeneration(file)
		file.Close()
		if err != nil {
			return err
		}
		found, err := filepath.Glob(tree + "/*/*")
		if err != nil || len(found) != 2*len(g.Artifacts) {
			return fmt.Errorf("generation %d has %d links, %v", g.Number, len(found), err)
		}
	}
}

// wantComplete checks that n artifacts were linked one after the other after an empty first generation.
func (f fixture) wantComplete(n int) {
	f.t.Helper()
	p, err := f.Get("p")
	if err != nil {
		f.t.Fatal(err)
	}
	if p.Current != n+1 || len(p.Generations) != n+1 {
		f.t.Errorf("%d generations, %d is current", len(p.Generations), p.Current)
	}
	for i, g := range p.Generations {
		if g.Number != i+1 || g.Previous != i || len(g.Artifacts) != i {
			f.t.Errorf("generation %d after %d has %d artifacts", g.Number, g.Previous, len(g.Artifacts))
		}
	}
	f.wantClean("p")
}

func TestBusy(t *testing.T) {
	f := newFixture(t)
	f.link("p", Edit{})
	inside, leave := make(chan struct{}), make(chan struct{})
	slow := profilesIn(t, f.root)
	slow.Publish = func(context.Context, string, []artifact.RealizationID) error {
		close(inside)
		<-leave
		return nil
	}
	done := make(chan error, 1)
	go func() {
		_, err := slow.Link(context.Background(), "p", Edit{Add: []Artifact{f.artifact("a", "1", "x")}})
		done <- err
	}()
	<-inside
	f.Lock.Timeout = -1
	var busy *lease.LockedError
	if _, err := f.Link(context.Background(), "p", Edit{}); !errors.As(err, &busy) || busy.Info.Holder != slow.Lock.Holder {
		t.Errorf("got %v", err)
	}
	f.Lock.Timeout = 0
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := f.Link(ctx, "p", Edit{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if g, err := f.Generation("p", 0); err != nil || g.Number != 1 {
		t.Errorf("reading waits for the lock: %v", err)
	}
	close(leave)
	if err := <-done; err != nil {
		t.Error(err)
	}
	f.wantCurrent("p", 2)
}

// TestProcess is what the processes of the tests below run: it links one artifact, and dies on the way if told to.
func TestProcess(t *testing.T) {
	root, text, ok := strings.Cut(os.Getenv("HDJAIL_TEST_LINK"), "=")
	if !ok {
		return
	}
	var a Artifact
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		t.Fatal(err)
	}
	p := profilesIn(t, root)
	if os.Getenv("HDJAIL_TEST_DIE") != "" {
		p.Publish = func(context.Context, string, []artifact.RealizationID) error {
			return syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
	}
	if _, err := p.Link(context.Background(), "p", Edit{Add: []Artifact{a}}); err != nil {
		t.Fatal(err)
	}
}

func (f fixture) process(a Artifact, env ...string) *exec.Cmd {
	f.t.Helper()
	text, err := json.Marshal(a)
	if err != nil {
		f.t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestProcess$")
	cmd.Env = append(slices.Clone(os.Environ()), append(env, "HDJAIL_TEST_LINK="+f.root+"="+string(text))...)
	return cmd
}

func TestConcurrentProcesses(t *testing.T) {
	f := newFixture(t)
	f.link("p", Edit{})
	var wait sync.WaitGroup
	for i := range 4 {
		cmd := f.process(f.artifact(fmt.Sprint("a", i), "1", fmt.Sprint("bin/", i), fmt.Sprint("lib/", i)))
		wait.Go(func() {
			if output, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, output)
			}
		})
	}
	wait.Wait()
	f.wantComplete(4)
}

func TestKilled(t *testing.T) {
	f := newFixture(t)
	f.link("p", Edit{})
	a := f.artifact("a", "1", "bin/x", "lib/x")
	if err := f.process(a, "HDJAIL_TEST_DIE=1").Run(); err == nil {
		t.Fatal("the process lived")
	}
	if left, err := filepath.Glob(filepath.Join(f.Dir, "p/generations/.*/generation.json")); err != nil || len(left) != 1 {
		t.Fatalf("it died too early: %v, %v", left, err)
	}
	f.wantCurrent("p", 1)
	f.link("p", Edit{Add: []Artifact{a}})
	f.wantComplete(1)
}
