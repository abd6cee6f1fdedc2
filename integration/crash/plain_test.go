package crash

import (
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"

	"hdjail/integration/fusefs"
)

// plainSite is a site on a file system without hard links, attributes, locks and fine times, see fusefs.
func plainSite(t *testing.T) (*site, *fusefs.FS) {
	t.Helper()
	dir, err := os.MkdirTemp("", "hdjail-crash-plain-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { remove(t, dir) })
	backing, at := filepath.Join(dir, "backing"), filepath.Join(dir, "at")
	for _, d := range []string{dir, backing, at} {
		os.Mkdir(d, 0o755) // dir is there
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	f, err := fusefs.Mount(backing, at)
	needs(t, err)
	t.Cleanup(func() {
		if err := f.Unmount(); err != nil {
			t.Error(err)
		}
	})
	s := newSite(t, filepath.Join(at, "store"))
	s.check.linkless = true
	return s, f
}

// TestPlainFileSystem is TestKilledAtRandom where the file system lacks what NFS, Lustre and the like may lack.
func TestPlainFileSystem(t *testing.T) {
	s, _ := plainSite(t)
	s.run("build", s.steady)
	killAtRandom(s, chance(t), rounds(4, 100))
}

// TestKilledAtEveryChange kills one process right before each change that it makes to the file system, one after the other,
// until it comes to its end. Where not everything is tried, every so-manieth.
func TestKilledAtEveryChange(t *testing.T) {
	s, f := plainSite(t)
	s.run("build", s.steady)
	random := chance(t)
	step := rounds(20, 1)
	killed := 0
	for n := 1 + random.IntN(step); ; n += step {
		middle, top := s.generation(n)
		var changes atomic.Int64
		started := make(chan *process, 1)
		f.Before(func(fusefs.Change) syscall.Errno {
			now := changes.Add(1)
			if now == int64(n) {
				(<-started).kill()
			}
			if now >= int64(n) {
				return syscall.EINTR // of the dying, whose other threads may be on their way
			}
			return 0
		})
		p := s.start("build", "--profile", "a", top, middle)
		started <- p
		s.end(p)
		f.Before(nil)
		s.mustBeWhole(p.description, false)
		s.run("build", "--profile", "next", top, middle)
		s.mustBeWhole(p.description+", after the next build", true)
		s.mustBeOneEach(p.description)
		s.mustLeaveNothing([]*process{p})
		if !p.killed.Load() {
			break
		}
		killed++
	}
	t.Logf("killed %d times", killed)
}
