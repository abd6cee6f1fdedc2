package crash

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// refusedForSpace is what hdjail has to say when nothing more can be written.
var refusedForSpace = regexp.MustCompile(`(?s)error\[HJ0051\]: .*(no space left on device|disk quota exceeded).*help: hdjail gc frees `)

// brokeForSpace is what it has to say when the script was the one to find out.
var brokeForSpace = regexp.MustCompile(`(?s)error\[HJ0030\]: .*(No space left on device|Disk quota exceeded).*help: hdjail gc frees `)

// TestFull gives a store on a real file system one more page each time, until a build, its registration and its profile have
// enough: before that everything that is written fails once. The store stays whole, hdjail says what is full, and the next
// build with space succeeds.
func TestFull(t *testing.T) {
	s, dir := smallSite(t)
	s.run("build", s.steady)
	page := int64(os.Getpagesize())
	refused := 0
	for n := 0; ; n++ {
		middle, top := s.generation(n)
		leave(t, dir, int64(n)*page)
		p := s.start("build", "--profile", "a", top, middle)
		<-p.ended
		s.afterFull(p, fmt.Sprintf("with %d free pages", n), func() { leave(t, dir, 1<<40) }, middle, top)
		if p.command.ProcessState.Success() {
			break
		}
		refused++
	}
	if refused < 10 {
		t.Errorf("a build needs %d pages only", refused)
	}
	t.Logf("refused with 0 to %d free pages", refused-1)
}

// TestQuotaAtEveryWrite fails each operation that may take space in turn, and all that follow, as a quota does that is used
// up; and the same with a file system that is full.
func TestQuotaAtEveryWrite(t *testing.T) {
	failAtEveryWrite(t, math.MaxInt64, rounds(14, 1))
}

// TestFailingOnce fails one operation alone. What goes on as if nothing had been may lack something, which is looked for.
func TestFailingOnce(t *testing.T) {
	failAtEveryWrite(t, 1, rounds(14, 1))
}

func failAtEveryWrite(t *testing.T, times int64, step int) {
	s, f := plainSite(t)
	s.run("build", s.steady)
	random := chance(t)
	refused := 0
	for n := random.IntN(step); ; n += step {
		errno := []syscall.Errno{unix.EDQUOT, unix.ENOSPC}[n/step%2]
		middle, top := s.generation(n)
		count := f.Fail(int64(n), times, errno)
		p := s.start("build", "--profile", "a", top, middle)
		<-p.ended
		f.Before(nil)
		s.afterFull(p, fmt.Sprintf("%v after %d writes", errno, n), func() {}, middle, top)
		if !p.command.ProcessState.Success() {
			refused++
		}
		if count() <= int64(n) {
			t.Logf("refused %d times; it takes %d writes", refused, count())
			break
		}
	}
}

// afterFull looks at a command that may have had too little space, and at the store; then it frees space and goes on.
func (s *site) afterFull(p *process, when string, free func(), specs ...string) {
	s.t.Helper()
	state := p.command.ProcessState
	text := p.err.String()
	switch {
	case state.Success():
	case state.ExitCode() == 3 && brokeForSpace.MatchString(text):
	case state.ExitCode() != 1 || !refusedForSpace.MatchString(text):
		s.t.Errorf("%s: %v\n%s", when, state, text)
	}
	s.mustBeWhole(when, false)
	free()
	s.run(append([]string{"build", "--profile", "next"}, specs...)...)
	s.mustBeWhole(when+", after the next build", true)
	s.mustBeOneEach(when)
}

// smallSite is a site on a file system of its own, of 64 MiB, at the directory that is returned.
func smallSite(t *testing.T) (*site, string) {
	t.Helper()
	dir := t.TempDir()
	needs(t, unix.Mount("hdjail-test", dir, "tmpfs", 0, "size=64m,mode=755"))
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return newSite(t, filepath.Join(dir, "store")), dir
}

// leave fills a file system until just so many bytes are free.
func leave(t *testing.T, dir string, bytes int64) {
	t.Helper()
	name := filepath.Join(dir, "fill")
	os.Remove(name) // there may be none
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	fill := int64(st.Bavail)*st.Bsize - bytes
	if fill <= 0 {
		return
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Fallocate(int(f.Fd()), 0, 0, fill); err != nil {
		t.Fatal(err)
	}
}
