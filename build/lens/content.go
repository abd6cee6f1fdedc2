package lens

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// MaxContent is how many bytes of an output a reference may stand for.
const MaxContent = 64 << 10

// Read answers a JSON or Text expression from the output tree at dir. It is read by descriptors, and no link leads out of
// the tree. A text is given without the newline at its end. What is not there, too long or no text is an *Error.
func Read(dir string, e Expr) (string, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", err
	}
	defer root.Close()
	data, err := readFile(root, e)
	if err != nil {
		return "", err
	}
	text := strings.TrimSuffix(string(data), "\n")
	if e.Kind == JSON {
		if text, err = scalar(data, e); err != nil {
			return "", err
		}
	}
	if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
		return "", e.Fail("", "the content of %q is not UTF-8 text without NUL", e.Path)
	}
	return text, nil
}

func readFile(root *os.Root, e Expr) ([]byte, error) {
	f, err := root.OpenFile(e.Path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, e.Fail(besides(root, e.Path), "the output has no file %q", e.Path)
	}
	if err != nil {
		return nil, e.Fail("", "the file %q of the output cannot be read: %v", e.Path, cause(err))
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, e.Fail("", "%q is no file", e.Path)
	}
	data, err := io.ReadAll(io.LimitReader(f, MaxContent+1))
	if err == nil && len(data) > MaxContent {
		return nil, e.Fail("", "the file %q has more than %d bytes", e.Path, MaxContent)
	}
	return data, err
}

// besides suggests names in the directory where a file is missing.
func besides(root *os.Root, file string) string {
	dir, err := root.Open(path.Dir(file))
	if err != nil {
		return ""
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1) // what can be told is told
	for i, name := range names {
		names[i] = path.Join(path.Dir(file), name)
	}
	return Nearest(file, names)
}

func cause(err error) error {
	if wrapped := (*os.PathError)(nil); errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}
