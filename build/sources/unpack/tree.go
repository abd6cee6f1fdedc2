package unpack

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Options say how a Tree is written.
type Options struct {
	// Target is where in the directory the tree goes: relative, without "..", not through a symbolic link. It is made when
	// missing; empty and "." are the directory itself.
	Target string
	// UID and GID own what is made; where they are not the caller's own that takes privilege.
	UID, GID int
	// ReadOnly takes every write permission away in Close.
	ReadOnly bool
	// MaxBytes limits the content of all files together; 0 is 64 GiB.
	MaxBytes int64
}

// Tree is a directory that is being filled. Its methods take names as an archive has them and refuse those that break a
// rule; a path that is there already is a conflict, but for directories. Files are 0644, or 0755 when executable,
// directories 0755. Not for several goroutines.
type Tree struct {
	dir, top *os.File
	o        Options
	chown    bool
	entries  int
	left     int64 // bytes that may still be written
	buf      []byte
	// The directory that was used last stays open: archives list a directory's members one after the other.
	lastName string
	last     *os.File
	// walkOnly is set when the kernel refuses openat2(2), which is Linux 5.6, or a filter does.
	walkOnly bool
}

var times = []unix.Timespec{{Sec: Time}, {Sec: Time}}

// NewTree starts a tree below dir, which stays the caller's. The caller calls Close.
func NewTree(dir *os.File, o Options) (*Tree, error) {
	parts, err := split(o.Target)
	if err != nil {
		return nil, refuse("target", o.Target)
	}
	t := &Tree{dir: dir, top: dir, o: o, left: o.MaxBytes, buf: make([]byte, 128<<10)}
	t.chown = o.UID != os.Geteuid() || o.GID != os.Getegid()
	if t.left == 0 {
		t.left = maxBytes
	}
	t.top, err = t.walk(parts, o.Target)
	return t, err
}

// Close sets the times and final permissions of all directories, and releases what the tree holds.
func (t *Tree) Close() error {
	t.release()
	err := t.finish(t.dir)
	if t.top != t.dir {
		t.top.Close()
	}
	return err
}

// Abort releases what the tree holds and leaves the rest as it is.
func (t *Tree) Abort() {
	t.release()
	if t.top != t.dir {
		t.top.Close()
	}
}

func (t *Tree) release() {
	if t.last != nil {
		t.last.Close()
		t.last = nil
	}
}

// Dir makes a directory, unless it is there.
func (t *Tree) Dir(name string) error {
	parent, base, err := t.parent(name)
	if err != nil || base == "" {
		return err
	}
	d, err := t.mkdir(parent, base, name)
	if err == nil {
		err = d.Close()
	} else if kind(err) == "through-symlink" {
		err = refuse("conflict", name)
	}
	return err
}

// Content is what goes into a file. Size is what the archive promises, 0 when it does not say.
type Content struct {
	io.Reader
	Size       int64
	Executable bool
}

// File makes a file.
func (t *Tree) File(name string, c Content) error {
	parent, base, err := t.parent(name)
	if err != nil {
		return err
	}
	if base == "" || strings.HasSuffix(name, "/") {
		return refuse("name", name)
	}
	if c.Size > t.left {
		return refuse("limit", name)
	}
	mode := uint32(0o644)
	if c.Executable {
		mode = 0o755
		// While a file is open for writing, a child that is just being forked holds it too, and until that child calls
		// execve nobody can execute the file (golang/go#22315).
		syscall.ForkLock.RLock()
		defer syscall.ForkLock.RUnlock()
	}
	if t.o.ReadOnly {
		mode &^= 0o222
	}
	fd, err := unix.Openat(fileno(parent), base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return t.problem("create", name, err)
	}
	f := os.NewFile(uintptr(fd), name)
	err = t.fill(f, c, name)
	if err == nil {
		err = t.own(f, mode, name)
	}
	if cerr := f.Close(); err == nil && cerr != nil {
		err = fmt.Errorf("close %q: %w", name, cerr)
	}
	if err == nil {
		err = t.stamp(parent, base, name)
	}
	return err
}

// fill copies c into f. From file to file the kernel copies, or shares the blocks.
func (t *Tree) fill(f *os.File, c Content, name string) error {
	r := io.LimitReader(c.Reader, t.left+1)
	var n int64
	var err error
	if _, ok := c.Reader.(*os.File); ok {
		n, err = f.ReadFrom(r)
	} else {
		n, err = io.CopyBuffer(struct{ io.Writer }{f}, r, t.buf)
	}
	t.left -= n
	var refusal *Refusal
	switch {
	case t.left < 0:
		return refuse("limit", name)
	case errors.As(err, &refusal):
		return &Refusal{refusal.Kind, name, refusal.Err}
	case err != nil:
		return fmt.Errorf("write %q: %w", name, err)
	}
	return nil
}

// Symlink makes a symbolic link to target, as it is.
func (t *Tree) Symlink(name, target string) error {
	parent, base, err := t.parent(name)
	if err != nil {
		return err
	}
	if base == "" || target == "" || strings.ContainsRune(target, 0) {
		return refuse("name", name)
	}
	if len(target) > maxPath-1 {
		return refuse("limit", name)
	}
	if err := unix.Symlinkat(target, fileno(parent), base); err != nil {
		return t.problem("create", name, err)
	}
	if t.chown {
		if err := unix.Fchownat(fileno(parent), base, t.o.UID, t.o.GID, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return fmt.Errorf("change owner of %q: %w", name, err)
		}
	}
	return t.stamp(parent, base, name)
}

// Copy makes a file with the content and the execute bit of old, a file made before; anything else is link-outside.
func (t *Tree) Copy(name, old string) error {
	parent, base, err := t.parent(old)
	if err != nil || base == "" {
		return refuse("link-outside", name)
	}
	fd, err := unix.Openat(fileno(parent), base, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return refuse("link-outside", name)
	}
	f := os.NewFile(uintptr(fd), old)
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return refuse("link-outside", name)
	}
	return t.File(name, Content{f, info.Size(), info.Mode()&0o111 != 0})
}

// parent opens the directory that holds name and returns the last component, which is empty for the top directory. The
// directory stays the tree's.
func (t *Tree) parent(name string) (*os.File, string, error) {
	parts, err := split(name)
	if err != nil {
		return nil, "", err
	}
	if t.entries++; t.entries > maxEntries {
		return nil, "", refuse("limit", name)
	}
	if len(parts) < 2 {
		return t.top, strings.Join(parts, ""), nil
	}
	parts, base := parts[:len(parts)-1], parts[len(parts)-1]
	dir := strings.Join(parts, "/")
	if t.last != nil && dir == t.lastName {
		return t.last, base, nil
	}
	d, err := t.open(dir, name)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOSYS) {
		d, err = t.walk(parts, name)
	}
	if err != nil {
		return nil, "", err
	}
	t.release()
	t.last, t.lastName = d, dir
	return d, base, nil
}

func (t *Tree) open(dir, name string) (*os.File, error) {
	if t.walkOnly {
		return nil, unix.ENOSYS
	}
	how := unix.OpenHow{Flags: unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS}
	fd, err := unix.Openat2(fileno(t.top), dir, &how)
	if err == unix.ENOSYS || err == unix.EPERM {
		t.walkOnly = true
		return nil, unix.ENOSYS
	}
	if err != nil {
		return nil, t.problem("open directory of", name, err)
	}
	return os.NewFile(uintptr(fd), dir), nil
}

// walk opens the directory parts below the top one step at a time and makes what is missing.
func (t *Tree) walk(parts []string, name string) (*os.File, error) {
	d := t.top
	for _, part := range parts {
		next, err := t.mkdir(d, part, name)
		if d != t.top {
			d.Close()
		}
		if err != nil {
			return nil, err
		}
		d = next
	}
	return d, nil
}

// mkdir opens the directory base of parent and makes it when it is missing.
func (t *Tree) mkdir(parent *os.File, base, name string) (*os.File, error) {
	made := unix.Mkdirat(fileno(parent), base, 0o700)
	if made != nil && made != unix.EEXIST {
		return nil, t.problem("create", name, made)
	}
	fd, err := unix.Openat(fileno(parent), base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err == unix.ENOTDIR {
		var st unix.Stat_t
		if unix.Fstatat(fileno(parent), base, &st, unix.AT_SYMLINK_NOFOLLOW) == nil && st.Mode&unix.S_IFMT == unix.S_IFLNK {
			err = unix.ELOOP
		}
	}
	if err != nil {
		return nil, t.problem("open", name, err)
	}
	d := os.NewFile(uintptr(fd), base)
	if made == nil {
		if t.entries++; t.entries > maxEntries {
			err = refuse("limit", name)
		} else {
			err = t.own(d, 0o755, name)
		}
	}
	if err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

// own gives what was just made its owner and its permissions, by descriptor.
func (t *Tree) own(f *os.File, mode uint32, name string) error {
	if t.chown {
		if err := unix.Fchown(fileno(f), t.o.UID, t.o.GID); err != nil {
			return fmt.Errorf("change owner of %q: %w", name, err)
		}
	}
	if err := unix.Fchmod(fileno(f), mode); err != nil {
		return fmt.Errorf("change mode of %q: %w", name, err)
	}
	return nil
}

func (t *Tree) stamp(parent *os.File, base, name string) error {
	if err := unix.UtimesNanoAt(fileno(parent), base, times, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("set time of %q: %w", name, err)
	}
	return nil
}

// finish goes through all directories below d, never through a link. maxDepth bounds the recursion.
func (t *Tree) finish(d *os.File) error {
	if _, err := d.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("list %q: %w", d.Name(), err)
	}
	for {
		entries, err := d.ReadDir(256)
		for _, e := range entries {
			if !e.IsDir() {
				continue
			}
			fd, err := unix.Openat(fileno(d), e.Name(), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
			if err != nil {
				return fmt.Errorf("open %q: %w", e.Name(), err)
			}
			sub := os.NewFile(uintptr(fd), e.Name())
			err = t.finish(sub)
			sub.Close()
			if err != nil {
				return err
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("list %q: %w", d.Name(), err)
		}
	}
	if t.o.ReadOnly {
		if err := unix.Fchmod(fileno(d), 0o555); err != nil {
			return fmt.Errorf("change mode of %q: %w", d.Name(), err)
		}
	}
	if err := unix.UtimesNanoAt(fileno(d), ".", times, 0); err != nil {
		return fmt.Errorf("set time of %q: %w", d.Name(), err)
	}
	return nil
}

// problem tells the refusals among the errors of system calls from what is wrong with the host.
func (t *Tree) problem(verb, name string, err error) error {
	switch err {
	case unix.EEXIST, unix.ENOTDIR, unix.EISDIR:
		return refuse("conflict", name)
	case unix.ELOOP, unix.EXDEV:
		return refuse("through-symlink", name)
	case unix.ENAMETOOLONG:
		return refuse("limit", name)
	}
	return fmt.Errorf("%s %q: %w", verb, name, err)
}

func kind(err error) string {
	var r *Refusal
	if errors.As(err, &r) {
		return r.Kind
	}
	return ""
}

func fileno(f *os.File) int { return int(f.Fd()) }
