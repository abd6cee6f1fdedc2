package container

import (
	"context"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"hdjail/jail"
)

// growthPause is how long after the start of a jail, and at least between two looks, its scratch is measured. A look may take a
// twentieth of the time, however many files there are.
const (
	growthPause = 5 * time.Second
	growthShare = 20
)

// growthDepth bounds how deep a look goes, by a descriptor a level. What lies deeper is counted when the output is collected.
const growthDepth = 100

// growth is what lies in a directory.
type growth struct{ bytes, entries int64 }

// exceeds names the limit that is passed, or is empty.
func (g growth) exceeds(l jail.Limits) string {
	switch {
	case l.Output > 0 && g.bytes > l.Output:
		return "output"
	case l.Files > 0 && g.entries > l.Files:
		return "files"
	}
	return ""
}

// watchGrowth measures the directory from time to time and names the first limit that it passes. The channel is never closed;
// what goes on in there is a running build's, so what cannot be read counts as nothing.
func watchGrowth(ctx context.Context, dir string, l jail.Limits, pause time.Duration) <-chan string {
	passed := make(chan string, 1)
	go func() {
		timer := time.NewTimer(pause)
		defer timer.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-timer.C:
			}
			started := time.Now()
			if limit := measureGrowth(ctx, dir, l).exceeds(l); limit != "" {
				passed <- limit
				return
			}
			timer.Reset(max(pause, growthShare*time.Since(started)))
		}
	}()
	return passed
}

// measureGrowth adds up what is allocated below dir, until a limit is passed. It follows no link and leaves no file system.
func measureGrowth(ctx context.Context, dir string, l jail.Limits) (g growth) {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return g
	}
	var st unix.Stat_t
	root := os.NewFile(uintptr(fd), dir)
	defer root.Close()
	if unix.Fstat(fd, &st) != nil {
		return g
	}
	m := measure{ctx: ctx, limits: l, dev: st.Dev}
	m.directory(root, growthDepth)
	return m.growth
}

// measure is one look.
type measure struct {
	growth
	ctx    context.Context
	limits jail.Limits
	dev    uint64
}

func (m *measure) over() bool { return m.exceeds(m.limits) != "" || m.ctx.Err() != nil }

func (m *measure) directory(dir *os.File, depth int) {
	for !m.over() {
		names, err := dir.Readdirnames(1024)
		for _, name := range names {
			m.entry(dir, name, depth)
			if m.over() {
				return
			}
		}
		if err != nil { // io.EOF, or the build took the directory away
			return
		}
	}
}

func (m *measure) entry(dir *os.File, name string, depth int) {
	var st unix.Stat_t
	if unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil || st.Dev != m.dev {
		return
	}
	m.entries++
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		m.bytes += st.Blocks * 512 / int64(max(1, st.Nlink)) // a file with many names counts once
		return
	}
	m.bytes += st.Blocks * 512
	if depth == 0 {
		return
	}
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	below := os.NewFile(uintptr(fd), name)
	defer below.Close()
	m.directory(below, depth-1)
}
