package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Place says where the directory of a link is: a path alone means something else on another machine, in another mount
// namespace, or after something was mounted there.
type Place struct {
	Host   string `json:"host"`
	Boot   string `json:"boot"`
	Device uint64 `json:"device"`
	Inode  uint64 `json:"inode"`
}

// placeOf is the place of a link as this process sees it; zero, which no look matches, if it sees none.
func (s *Store) placeOf(link string) Place {
	var st unix.Stat_t
	if err := unix.Stat(filepath.Dir(link), &st); err != nil {
		return Place{}
	}
	return Place{s.holder.Host, s.holder.Boot, st.Dev, st.Ino}
}

// check gives an error unless the directory, as this process sees it, is the one of the place.
func (s *Store) check(p Place, dir *os.File) error {
	if p.Boot != s.holder.Boot && p.Host != s.holder.Host {
		return fmt.Errorf("it was made on %q", p.Host)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &st); err != nil {
		return &fs.PathError{Op: "stat", Path: dir.Name(), Err: err}
	}
	if st.Dev != p.Device || st.Ino != p.Inode {
		return fmt.Errorf("%s is another directory than when it was made", dir.Name())
	}
	return nil
}

// LinkGone reports whether the link at the path of a root is known to be gone, or to lead elsewhere. An error says that
// this process cannot tell, because it does not see the directory in which the link was made: then it counts as there.
func (s *Store) LinkGone(r Root) (bool, error) {
	dir, err := os.OpenFile(filepath.Dir(r.Name), os.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK, 0)
	if err != nil {
		return false, err
	}
	defer dir.Close()
	if err := s.check(r.Place, dir); err != nil {
		return false, err
	}
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(int(dir.Fd()), filepath.Base(r.Name), buf)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINVAL) {
		return true, nil
	}
	if err != nil {
		return false, &fs.PathError{Op: "readlink", Path: r.Name, Err: err}
	}
	return string(buf[:n]) != r.Target, nil
}
