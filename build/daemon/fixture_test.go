package daemon

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"hdjail/artifact"
	"hdjail/artifact/store"
	"hdjail/artifact/tree"
	"hdjail/build"
	"hdjail/build/daemon/client"
	"hdjail/build/daemon/metrics"
	"hdjail/build/daemon/rules"
	"hdjail/build/daemon/sitelog"
	"hdjail/build/daemon/wire"
	"hdjail/build/sources"
	"hdjail/hostpkgs"
	"hdjail/jail"
	"hdjail/jail/jailtest"
	"hdjail/policies"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// machine stands for the host's packages: it has one, which owns everything.
type machine struct{}

func (machine) Pin(_ context.Context, names []string) ([]hostpkgs.Pinned, error) {
	return []hostpkgs.Pinned{{Name: names[0], Version: "1", Digest: "blake3:" + strings.Repeat("0", 64)}}, nil
}

func (machine) Owner(context.Context, string) (string, bool, error) { return "dash", true, nil }

func (machine) Compose(context.Context, []hostpkgs.Pinned, []hostpkgs.Mountpoint) (hostpkgs.Tree, error) {
	return hostpkgs.Tree{Path: "/composed", Top: []hostpkgs.TopEntry{{Name: "usr", IsDir: true}}}, nil
}

// clock is a time that a test sets.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) time() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// site is a daemon of one test, with the user of the test as the only caller.
type site struct {
	t      *testing.T
	dir    string
	socket string
	store  *store.Store
	runner *jailtest.Runner
	clock  *clock
	stop   func()
}

// newSite starts a daemon with the site's policy.
func newSite(t *testing.T, policy string, scripts map[string]jailtest.Script) *site {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, dir: dir, socket: filepath.Join(dir, "s"), clock: &clock{now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)},
		runner: &jailtest.Runner{Scripts: scripts, Default: jailtest.Script{Files: map[string]string{"f": "content"}, Log: "a line\n"}}}
	root := filepath.Join(dir, "store")
	if s.store, err = store.Open(root, store.Options{Now: s.clock.time}); err != nil {
		t.Fatal(err)
	}
	digest := func(ctx context.Context, dir *os.File) (artifact.TreeDigest, error) {
		d, _, err := tree.Digest(ctx, dir, tree.Options{})
		return d, err
	}
	src, err := sources.Open(sources.Options{Root: root, Tree: digest, Offline: true})
	if err != nil {
		t.Fatal(err)
	}
	s.start(policy, src)
	t.Cleanup(func() {
		s.stop()
		if n := s.runner.Open(); n != 0 {
			t.Errorf("%d scratches are left", n)
		}
		left, err := os.ReadDir(s.store.TmpDir())
		if err != nil || len(left) > 0 {
			t.Errorf("left in tmp: %v, %v", left, err)
		}
		if err := errors.Join(src.Close(), s.store.Close(), unlock(root)); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *site) start(policy string, src *sources.Store) {
	s.t.Helper()
	parsed, err := policies.ParseSite([]byte(policy))
	if err != nil {
		s.t.Fatal(err)
	}
	r, err := rules.New(parsed, rules.Options{UID: os.Getuid(), Prefix: s.store.Prefix(), System: "x"})
	if err != nil {
		s.t.Fatal(err)
	}
	log, err := sitelog.Open(s.logName(), s.clock.time, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	server, err := New(Config{Builder: build.Builder{Store: s.store, Sources: src, Host: machine{}, Runner: s.runner, Now: s.clock.time, CPUs: 2,
		Limits: build.DefaultLimits()}, Host: machine{}, Sources: src, Rules: r, Log: log, LogName: s.logName(), System: "x",
		Places: 1, Queued: 3, Explain: explain, Metrics: &metrics.Set{}})
	if err != nil {
		s.t.Fatal(err)
	}
	l, err := Listen(s.socket, -1)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- server.Serve(ctx, l) }()
	s.stop = sync.OnceFunc(func() {
		cancel()
		if err := errors.Join(<-done, log.Close()); err != nil {
			s.t.Error(err)
		}
	})
}

func (s *site) logName() string { return filepath.Join(s.dir, "site.log") }

// explain puts the kind of a refusal in place of the code.
func explain(err error) wire.Problem {
	p := wire.Problem{Code: "error", Text: err.Error()}
	if refused := (*rules.Refused)(nil); errors.As(err, &refused) {
		p.Code = string(refused.Kind)
	}
	return p
}

// entries are those of the site's log so far.
func (s *site) entries() (list []sitelog.Entry) {
	s.t.Helper()
	if _, err := sitelog.Read(s.logName(), func(e sitelog.Entry) { list = append(list, e) }); err != nil {
		s.t.Fatal(err)
	}
	return list
}

func (s *site) dial() *client.Client {
	s.t.Helper()
	c, err := client.Dial(s.t.Context(), s.socket)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	return c
}

// derive brings a derivation of this name, and what it depends on.
func (s *site) derive(c *client.Client, name string, deps ...artifact.DerivationID) artifact.DerivationID {
	s.t.Helper()
	p, err := policies.Shipped("default")
	if err != nil {
		s.t.Fatal(err)
	}
	d := artifact.Derivation{Layout: jail.Layout, Name: name, System: "x", Prefix: s.store.Prefix(), Interpreter: []string{"/bin/sh"}, Script: "true",
		Policy: p.Digest(policies.ModeHide, nil)}
	for _, id := range deps {
		d.Dependencies = append(d.Dependencies, artifact.Dependency{ID: id, As: "D" + id.String()[:4]})
	}
	if err := c.Derive(s.t.Context(), &d); err != nil {
		s.t.Fatal(err)
	}
	return d.ID()
}

// request is a build of derivations, the last of which is the target.
func request(ids ...artifact.DerivationID) *wire.Build {
	b := &wire.Build{Targets: ids[len(ids)-1:]}
	for _, id := range ids {
		b.Steps = append(b.Steps, wire.Step{ID: id})
	}
	return b
}

// quiet follows a job without looking.
func quiet() client.Follower {
	return client.Follower{Job: func(wire.JobInfo) {}, Event: func(build.Event) {}}
}

// unlock makes the directories of a store writable, so that the test's directory can be removed.
func unlock(root string) error {
	return filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			err = os.Chmod(path, 0o755)
		}
		return err
	})
}
