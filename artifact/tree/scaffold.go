package tree

import (
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// scaffold is a canonical tree that is being made, entry by entry in the order of an encoding: it holds the way down to the
// directory of the last entry. A directory is finished when the way leads out of it.
type scaffold struct {
	way  *ladder
	path string // of the lowest directory: empty, or it ends in a slash
}

func newScaffold(root *os.File) *scaffold { return &scaffold{way: newLadder(int(root.Fd()), false)} }

// directory returns the descriptor of the directory that gets the entry at path, and the entry's name there.
func (s *scaffold) directory(path string) (int, string, error) {
	end := strings.LastIndexByte(path, '/') + 1
	if err := s.climb(path[:end]); err != nil {
		return -1, "", err
	}
	dir, err := s.way.fd()
	if err != nil {
		return -1, "", wrap("make", path, err)
	}
	return dir, path[end:], nil
}

// mkdir makes the directory at path and goes into it.
func (s *scaffold) mkdir(path string) error {
	dir, name, err := s.directory(path)
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err = unix.Mkdirat(dir, name, 0o700); err == nil {
		err = unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	}
	if err == nil {
		_, err = s.way.down(name, &st)
	}
	if err != nil {
		return &fs.PathError{Op: "make", Path: path, Err: err}
	}
	s.path = path + "/"
	return nil
}

// symlink makes a link.
func (s *scaffold) symlink(path, target string) error {
	dir, name, err := s.directory(path)
	if err != nil {
		return err
	}
	if err = unix.Symlinkat(target, dir, name); err == nil {
		err = SetTime(dir, name)
	}
	if err != nil {
		return &fs.PathError{Op: "make", Path: path, Err: err}
	}
	return nil
}

// file makes a new file, lets fill write it, and seals it.
func (s *scaffold) file(path string, kind Kind, fill func(*os.File) error) error {
	dir, name, err := s.directory(path)
	if err != nil {
		return err
	}
	fd, err := unix.Openat(dir, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return &fs.PathError{Op: "make", Path: path, Err: err}
	}
	to := os.NewFile(uintptr(fd), path)
	defer to.Close()
	if err := fill(to); err != nil {
		return err
	}
	mode := uint32(0o444)
	if kind == Executable {
		mode = 0o555
	}
	if err := Seal(fd, mode); err != nil {
		return &fs.PathError{Op: "make", Path: path, Err: err}
	}
	return to.Close()
}

// climb goes up to the directory with the path, "" or one that ends in a slash, and finishes those that it leaves.
func (s *scaffold) climb(path string) error {
	for s.path != path {
		fd, err := s.way.fd()
		if err == nil {
			err = Seal(fd, 0o555)
		}
		if err != nil {
			return &fs.PathError{Op: "make", Path: s.path, Err: err}
		}
		s.way.up()
		s.path = s.path[:strings.LastIndexByte(s.path[:len(s.path)-1], '/')+1]
	}
	return nil
}

// close releases the descriptors.
func (s *scaffold) close() { s.way.close() }
