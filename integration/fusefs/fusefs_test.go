package fusefs

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestRefuses makes sure that the file system lacks what the tests of the store believe that it lacks.
func TestRefuses(t *testing.T) {
	backing, at := t.TempDir(), t.TempDir()
	f, err := Mount(backing, at)
	if err != nil && os.Getenv("HDJAIL_TEST_NO_SKIP") == "" {
		t.Skip(err) // an ordinary user
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := f.Unmount(); err != nil {
			t.Error(err)
		}
	}()
	name := filepath.Join(at, "f")
	if err := errors.Join(os.Mkdir(at+"/dir", 0o755), os.WriteFile(name, []byte("content"), 0o644)); err != nil {
		t.Fatal(err)
	}
	if there, err := os.ReadFile(filepath.Join(backing, "f")); err != nil || string(there) != "content" {
		t.Errorf("behind it is %q, %v", there, err)
	}
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	fd := int(file.Fd())
	for what, row := range map[string]struct {
		err error
		is  error
	}{
		"link":      {unix.Link(name, name+"2"), unix.EPERM},
		"flock":     {unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB), unix.ENOLCK},
		"lock":      {unix.FcntlFlock(uintptr(fd), unix.F_SETLK, &unix.Flock_t{Type: unix.F_RDLCK}), unix.ENOLCK},
		"xattr":     {unix.Fsetxattr(fd, "user.x", nil, 0), unix.EOPNOTSUPP},
		"noreplace": {unix.Renameat2(unix.AT_FDCWD, name, unix.AT_FDCWD, name+"2", unix.RENAME_NOREPLACE), unix.EINVAL},
		"exchange":  {unix.Renameat2(unix.AT_FDCWD, name, unix.AT_FDCWD, at+"/dir", unix.RENAME_EXCHANGE), unix.EINVAL},
		"tmpfile":   {tmpfile(at), unix.EOPNOTSUPP},
	} {
		if !errors.Is(row.err, row.is) {
			t.Errorf("%s: %v, want %v", what, row.err, row.is)
		}
	}
	info, err := os.Stat(name)
	if err != nil || info.ModTime().UnixNano()%2e9 != 0 {
		t.Errorf("its time is %v, %v", info.ModTime(), err)
	}
	count := f.Fill(1, unix.EDQUOT)
	if err := os.Mkdir(name+"3", 0o755); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(name+"4", nil, 0o644); !errors.Is(err, unix.EDQUOT) || count() != 2 {
		t.Errorf("the second time: %v, after %d", err, count())
	}
}

func tmpfile(dir string) error {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_WRONLY, 0o600)
	if err == nil {
		unix.Close(fd)
	}
	return err
}
