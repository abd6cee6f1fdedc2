package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"hdjail/jail"
)

// Scratch implements jail.Runner. As root it leases a host uid for the life of the scratch.
func (r *Runner) Scratch(ctx context.Context, dir string) (_ *jail.Scratch, err error) {
	s := &jail.Scratch{Dir: dir, UID: os.Getuid(), GID: os.Getgid()}
	release := func() error { return nil }
	if r.root {
		if s.UID, release, err = r.leaseUID(); err != nil {
			return nil, &jail.SetupError{Phase: "lease", Err: err}
		}
		s.GID = s.UID
		r.warming.Go(func() { r.idmaps.open(s.UID) }) // an error comes again when it is needed
	}
	defer func() {
		if err != nil {
			err = &jail.SetupError{Phase: "scratch", Err: errors.Join(err, release())}
		}
	}()
	// Init walks through it as the build's uid; the leased gid is nobody else's.
	if err := errors.Join(os.Lchown(s.Dir, -1, s.GID), os.Chmod(s.Dir, 0o710)); err != nil {
		return nil, err
	}
	if err := populate(s); err != nil {
		return nil, err
	}
	s.Release = release
	return s, nil
}

func populate(s *jail.Scratch) error {
	dir, err := os.OpenRoot(s.Dir)
	if err != nil {
		return err
	}
	defer dir.Close()
	for name, mode := range map[string]os.FileMode{"build": 0o755, "tmp": 0o777 | os.ModeSticky, "vartmp": 0o777 | os.ModeSticky,
		"tmp/home": 0o755} {
		if err := errors.Join(dir.MkdirAll(name, 0o755), dir.Chmod(name, mode), dir.Lchown(name, s.UID, s.GID)); err != nil {
			return err
		}
	}
	return nil
}

// leaseUID takes a host uid that no other jail has. The lock on its file ends with this process at the latest.
func (r *Runner) leaseUID() (uid int, release func() error, err error) {
	dir := filepath.Join(r.options.LeaseDir, "uids")
	if err := errors.Join(ownDirectory(r.options.LeaseDir), ownDirectory(dir)); err != nil {
		return 0, nil, err
	}
	for uid := r.options.FirstUID; uid < r.options.FirstUID+r.options.UIDs; uid++ {
		file, err := os.OpenFile(filepath.Join(dir, strconv.Itoa(uid)), os.O_CREATE|os.O_RDWR|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
		if err != nil {
			return 0, nil, err
		}
		if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err == nil {
			return uid, file.Close, nil
		}
		file.Close()
	}
	return 0, nil, fmt.Errorf("lease a uid: all %d from %d on are in use by running builds", r.options.UIDs, r.options.FirstUID)
}
