package container

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	groupPrefix = "hdjail-"
	groupTries  = 200
	groupPause  = 5 * time.Millisecond
)

// groupName is that of the cgroup of a jail whose scratch lies in the directory dir.
func groupName(dir string) string { return groupPrefix + filepath.Base(dir) }

// RemoveGroups removes the cgroups of the jail whose scratch lay in a directory of that name. Its runner was killed, and
// what still runs in the jail is. Nobody knows below which group the runner was, so all are looked through: that takes some
// milliseconds.
func RemoveGroups(scratch string) error { return removeGroups("/sys/fs/cgroup", groupName(scratch)) }

func removeGroups(root, name string) error {
	var failed []error
	_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil // what cannot be read is not ours
		}
		if d.Name() != name {
			return nil
		}
		failed = append(failed, removeGroup(path))
		return fs.SkipDir
	})
	return errors.Join(failed...)
}

func removeGroup(dir string) error {
	for try := 1; ; try++ {
		err := unix.Rmdir(dir)
		switch {
		case err == nil, errors.Is(err, unix.ENOENT):
			return nil
		case !errors.Is(err, unix.EBUSY) || try == groupTries:
			return &os.PathError{Op: "remove cgroup", Path: dir, Err: err}
		}
		killGroup(dir)
		time.Sleep(groupPause) // the kernel tells nobody when a group of version 1 is empty
	}
}

func killGroup(dir string) {
	text, _ := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	for _, line := range strings.Fields(string(text)) {
		if pid, err := strconv.Atoi(line); err == nil && pid > 0 {
			_ = unix.Kill(pid, unix.SIGKILL) // or it has ended
		}
	}
}
