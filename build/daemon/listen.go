package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"hdjail/artifact/tree"
)

// Listen makes a socket at path, an absolute one, in a directory that nobody else can write to, which it makes, too. A group of -1 lets everybody
// connect, any other its members; whether they are answered is for rules. A socket that nobody listens on is replaced.
func Listen(path string, group int) (*net.UnixListener, error) {
	dir, err := tree.OpenTrusted(filepath.Dir(path), tree.Trust{Create: true})
	if err != nil {
		return nil, fmt.Errorf("listen on %q: %w", path, err)
	}
	defer dir.Close()
	switch info, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("listen on %q: %w", path, err)
	case info.Mode()&os.ModeSocket == 0:
		return nil, fmt.Errorf("listen on %q: it exists and is no socket", path)
	default:
		if other, err := net.Dial("unix", path); err == nil {
			other.Close()
			return nil, fmt.Errorf("listen on %q: another process does", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("listen on %q: %w", path, err)
		}
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	mode := fs.FileMode(0o666)
	if group >= 0 {
		mode = 0o660
	}
	if err := errors.Join(os.Chown(path, -1, group), os.Chmod(path, mode)); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}
