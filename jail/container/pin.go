package container

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"hdjail/jail"
	"hdjail/mounts"
)

// identityOf is what stage 2 must find at a mount point: the source may be swapped between the check and the mount.
type identityOf struct {
	dev, ino uint64
	kind     uint32 // S_IFMT bits
}

// pinnedSources are the sources of a mount table, each resolved once and held.
type pinnedSources struct {
	found map[string]identityOf // by target
	files map[string]*os.File   // by target
}

func (p *pinnedSources) close() {
	for _, f := range p.files {
		f.Close()
	}
	clear(p.files)
}

// forbiddenSources are file systems that no source may lie on: they reach processes and limits of the host (statfs(2)).
var forbiddenSources = map[int64]string{
	unix.PROC_SUPER_MAGIC:    "proc",
	unix.SYSFS_MAGIC:         "sysfs",
	unix.CGROUP_SUPER_MAGIC:  "cgroup",
	unix.CGROUP2_SUPER_MAGIC: "cgroup2",
}

// pinSources resolves the source of every bind mount, refuses what must not be shown, and remembers which file it was.
func pinSources(table mounts.Table) (*pinnedSources, error) {
	p := &pinnedSources{found: map[string]identityOf{}, files: map[string]*os.File{}}
	for _, e := range table.Entries {
		if e.Kind != mounts.Bind {
			continue
		}
		if err := p.pin(e); err != nil {
			p.close()
			return nil, &jail.SetupError{Phase: "mount-source", Err: err}
		}
	}
	return p, nil
}

func (p *pinnedSources) pin(e mounts.Entry) error {
	fd, err := unix.Openat2(unix.AT_FDCWD, e.Source, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_MAGICLINKS})
	if err == unix.ENOSYS { // before Linux 5.6
		fd, err = unix.Open(e.Source, unix.O_PATH|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		return &os.PathError{Op: "open", Path: e.Source, Err: err}
	}
	p.files[e.Target] = os.NewFile(uintptr(fd), e.Source)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return &os.PathError{Op: "stat", Path: e.Source, Err: err}
	}
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil {
		return &os.PathError{Op: "statfs", Path: e.Source, Err: err}
	}
	if name, bad := forbiddenSources[int64(fs.Type)]; bad {
		return fmt.Errorf("show %q: it lies on a %s file system", e.Source, name)
	}
	kind := st.Mode & unix.S_IFMT
	if allowed := kind == unix.S_IFDIR && e.IsDir() || kind == unix.S_IFREG && !e.IsDir() || kind == unix.S_IFCHR && e.Device; !allowed {
		return fmt.Errorf("show %q as %q: it is no %s", e.Source, e.Target, wantedKind(e))
	}
	p.found[e.Target] = identityOf{dev: st.Dev, ino: st.Ino, kind: kind}
	return nil
}

func wantedKind(e mounts.Entry) string {
	switch {
	case e.Device:
		return "character device"
	case e.IsDir():
		return "directory"
	}
	return "regular file"
}
