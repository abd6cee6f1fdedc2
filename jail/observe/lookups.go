package observe

import (
	"bufio"
	"errors"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"hdjail/policies"
	"hdjail/policies/audit"
)

// Lookups asks the host on which hdjail runs, with the rights of this process. A directory that does not answer, as of a
// file server that is gone, costs a second once and a blocked thread, not the build.
type Lookups struct {
	// Root is the host's root directory; "" is "/".
	Root string

	stuck atomic.Int32
}

// answerIn is how long the host has for an answer, and maxStuck how many threads may wait for one that does not come.
const (
	answerIn = time.Second
	maxStuck = 8
)

type answer struct {
	what policies.HostAnswer
	file *audit.HostFile
}

// Ask implements Host.
func (h *Lookups) Ask(path string, follow bool) (policies.HostAnswer, *audit.HostFile) {
	if h.stuck.Load() >= maxStuck {
		return policies.HostSilent, nil
	}
	answered := make(chan answer, 1)
	h.stuck.Add(1)
	go func() {
		defer h.stuck.Add(-1)
		var a answer
		if strings.HasPrefix(path, "@") {
			a.what = abstractSocket(path)
		} else {
			a.what, a.file = h.look(path, follow)
		}
		answered <- a
	}()
	timer := time.NewTimer(answerIn)
	defer timer.Stop()
	select {
	case a := <-answered:
		return a.what, a.file
	case <-timer.C:
		return policies.HostSilent, nil
	}
}

// look follows links of the file system, but none of /proc: those lead to what processes have open.
func (h *Lookups) look(path string, follow bool) (policies.HostAnswer, *audit.HostFile) {
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_MAGICLINKS}
	if !follow {
		how.Flags |= unix.O_NOFOLLOW
	}
	fd, err := unix.Openat2(unix.AT_FDCWD, h.Root+path, &how)
	if err != nil {
		return refusal(err), nil
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return refusal(err), nil
	}
	return policies.HostHas, &audit.HostFile{Type: fileType(st.Mode), Inode: st.Ino}
}

// refusal is what an error of a look-up means. Only some say that there is nothing.
func refusal(err error) policies.HostAnswer {
	for _, lacks := range []error{unix.ENOENT, unix.ENOTDIR, unix.ELOOP, unix.ENAMETOOLONG} {
		if errors.Is(err, lacks) {
			return policies.HostLacks
		}
	}
	return policies.HostRefuses
}

func fileType(mode uint32) string {
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		return "file"
	case unix.S_IFDIR:
		return "directory"
	case unix.S_IFLNK:
		return "link"
	}
	return "other"
}

// abstractSocket looks for a name in the list of sockets (proc(5), /proc/net/unix).
func abstractSocket(name string) policies.HostAnswer {
	file, err := os.Open("/proc/net/unix")
	if err != nil {
		return policies.HostRefuses
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if _, listed, ok := strings.Cut(lines.Text(), " @"); ok && "@"+listed == name {
			return policies.HostHas
		}
	}
	return policies.HostLacks
}
