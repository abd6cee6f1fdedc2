package observe

import (
	"bytes"
	"path"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// view looks into a jail from outside, by a descriptor of its root directory. Its answers are those that a task of the jail
// would get at that moment, if the calling thread has the task's file system ids. Safe for concurrent use.
type view struct {
	root, proc int
	areas      areas
	ids        ids
	terminal   bool // the jail's tasks have one

	mu      sync.RWMutex
	known   map[lookKey]look // of places that the jail cannot change
	headers map[string][]byte
}

// ids are what a task of the jail has, as files outside show owners. all means that modes do not bind it.
type ids struct {
	uid, gid uint32
	all      bool
}

// look is what is at a path.
type look struct {
	// errno is 0 if something is there.
	errno    syscall.Errno
	mode     uint32
	uid, gid uint32
	// resolved is where the path leads, without links, as far as it exists and beyond. via are the links on the way.
	resolved string
	via      []string
	area     area
	// stays tells that the jail cannot change the answer.
	stays bool
}

type lookKey struct {
	path   string
	follow bool
}

// maxKnown bounds what is remembered of a jail's read-only places.
const maxKnown = 16_000

// maxLinks is how many links the kernel follows in one path (path_resolution(7)).
const maxLinks = 40

// at looks at an absolute path of a task. follow is false for calls that do not follow a link at its end.
func (v *view) at(p []byte, tid int, follow bool) look {
	v.mu.RLock()
	found, ok := v.known[lookKey{string(p), follow}]
	v.mu.RUnlock()
	if ok {
		return found
	}
	found = v.look(string(p), tid, follow)
	if found.stays {
		v.mu.Lock()
		if len(v.known) < maxKnown {
			v.known[lookKey{string(p), follow}] = found
		}
		v.mu.Unlock()
	}
	return found
}

func (v *view) look(p string, tid int, follow bool) (found look) {
	clean := path.Clean(p)
	st, errno := unix.Stat_t{}, syscall.Errno(unix.ELOOP)
	// With ".." the kernel gives up (EAGAIN) whenever anything is renamed anywhere meanwhile, so such paths are walked.
	if !magic(clean) && !strings.Contains(p, "..") {
		st, errno = v.stat(p, follow, unix.RESOLVE_NO_SYMLINKS)
	}
	if errno == unix.ELOOP {
		found = v.walk(p, tid, follow)
	} else {
		found = look{errno: errno, mode: st.Mode, uid: st.Uid, gid: st.Gid, resolved: clean}
	}
	found.area = v.areas.of(found.resolved)
	found.stays = !found.area.writable && !found.area.proc
	for _, hop := range found.via {
		a := v.areas.of(hop)
		found.stays = found.stays && !a.writable && !a.proc
	}
	return found
}

// stat looks at a path inside the jail.
func (v *view) stat(p string, follow bool, resolve uint64) (st unix.Stat_t, errno syscall.Errno) {
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | resolve}
	if !follow {
		how.Flags |= unix.O_NOFOLLOW
	}
	fd, err := unix.Openat2(v.root, relative(p), &how)
	if err != nil {
		return st, errnoOf(err)
	}
	defer unix.Close(fd)
	return st, errnoOf(unix.Fstat(fd, &st))
}

// maxTries is how often the kernel is asked again after EAGAIN.
const maxTries = 1000

// Openat2 is openat2(2), asked again while it answers EAGAIN: within a root the kernel gives up on ".." whenever anything is
// renamed anywhere meanwhile.
func Openat2(dir int, path string, how *unix.OpenHow) (fd int, err error) {
	for range maxTries {
		if fd, err = unix.Openat2(dir, path, how); err != unix.EAGAIN {
			break
		}
	}
	return fd, err
}

// resolveCached is RESOLVE_CACHED: it asks for no other answer, only for one without waiting.
const resolveCached = 0x20

// within looks at a path that is resolved as openat2(2) was asked to, by asking the same.
func (v *view) within(c *pendingPath, resolve uint64) (found look) {
	found.resolved = path.Clean(string(c.path))
	found.area = v.areas.of(found.resolved)
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT}
	base, err := unix.Openat2(v.root, relative(c.base), &how)
	if err != nil {
		found.errno = errnoOf(err)
		return found
	}
	defer unix.Close(base)
	how.Resolve = resolve &^ resolveCached
	if !c.follow {
		how.Flags |= unix.O_NOFOLLOW
	}
	fd, err := Openat2(base, c.typed, &how)
	if found.errno = errnoOf(err); err != nil {
		return found
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	found.errno = errnoOf(unix.Fstat(fd, &st))
	found.mode, found.uid, found.gid = st.Mode, st.Uid, st.Gid
	if where, ok := readlinkat(v.proc, "self/fd/"+strconv.Itoa(fd)); ok && path.IsAbs(where) {
		found.resolved = where
		found.area = v.areas.of(where)
	}
	return found
}

func relative(p string) string {
	if p = strings.TrimLeft(p, "/"); p == "" {
		return "."
	}
	return p
}

func errnoOf(err error) syscall.Errno {
	if err == nil {
		return 0
	}
	if errno, ok := err.(syscall.Errno); ok {
		return errno
	}
	return unix.EIO
}

// magic reports whether a path may lead through links of /proc that differ from task to task.
func magic(p string) bool {
	return strings.HasPrefix(p, "/proc/")
}

// beside looks at a path that is relative to a directory which has been removed: nothing is in it any more, but ".." leads out
// of it, to where it was.
func (v *view) beside(c *pendingPath, tid int, follow bool) look {
	at, rest := c.base, strings.Split(c.typed, "/")
	for len(rest) > 0 && (rest[0] == "" || rest[0] == "." || rest[0] == "..") {
		if rest[0] == ".." {
			return v.look(path.Join(path.Dir(at), strings.Join(rest[1:], "/")), tid, follow)
		}
		rest = rest[1:]
	}
	found := look{resolved: path.Join(append([]string{at}, rest...)...), area: v.areas.of(at)}
	if len(rest) > 0 {
		found.errno = unix.ENOENT
	} else {
		found.mode, found.uid, found.gid = unix.S_IFDIR|0o755, v.ids.uid, v.ids.gid
	}
	return found
}

// walk resolves a path link by link, as path_resolution(7) says.
func (v *view) walk(p string, tid int, follow bool) (found look) {
	at, rest := "/", strings.Split(p, "/")
	for len(rest) > 0 {
		name := rest[0]
		rest = rest[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			at = path.Dir(at)
			continue
		}
		next := path.Join(at, name)
		target, st, errno := v.step(next, tid)
		if errno != 0 {
			found.errno, found.resolved = errno, path.Join(append([]string{next}, rest...)...)
			return found
		}
		last := strings.Trim(strings.Join(rest, ""), ".") == ""
		if target == "" || last && !follow {
			at, found.mode, found.uid, found.gid = next, st.Mode, st.Uid, st.Gid
			if len(rest) > 0 && !last && st.Mode&unix.S_IFMT != unix.S_IFDIR && target == "" {
				found.errno, found.resolved = unix.ENOTDIR, path.Join(append([]string{next}, rest...)...)
				return found
			}
			continue
		}
		found.via = append(found.via, next)
		if len(found.via) > maxLinks {
			found.errno, found.resolved = unix.ELOOP, next
			return found
		}
		if !path.IsAbs(target) && strings.ContainsAny(target, ":") && strings.HasPrefix(next, "/proc/") { // pipe:[1], socket:[2]
			at, found.mode = next, unix.S_IFIFO|0o666
			continue
		}
		if path.IsAbs(target) {
			at = "/"
		}
		rest = append(strings.Split(target, "/"), rest...)
		if len(rest) > pathMax {
			found.errno, found.resolved = unix.ENAMETOOLONG, next
			return found
		}
	}
	found.resolved = at
	if at == "/" || found.mode == 0 {
		st, errno := v.stat(at, false, 0)
		found.errno, found.mode, found.uid, found.gid = errno, st.Mode, st.Uid, st.Gid
	}
	return found
}

// step looks at one path whose directory is resolved, and returns the text of a link, as the task sees it.
func (v *view) step(p string, tid int) (target string, st unix.Stat_t, errno syscall.Errno) {
	if rest, own := ownProc(p); own {
		name := strconv.Itoa(tid) + rest
		if err := unix.Fstatat(v.proc, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return "", st, errnoOf(err)
		}
		if st.Mode&unix.S_IFMT != unix.S_IFLNK {
			return "", st, 0
		}
		target, _ = readlinkat(v.proc, name)
		return strings.TrimSuffix(target, " (deleted)"), st, 0
	}
	st, errno = v.stat(p, false, 0)
	if errno != 0 || st.Mode&unix.S_IFMT != unix.S_IFLNK {
		return "", st, errno
	}
	target, _ = readlinkat(v.root, relative(p))
	return target, st, 0
}

// ownProc splits a path below the task's own directory of /proc.
func ownProc(p string) (rest string, own bool) {
	for _, self := range []string{"/proc/self", "/proc/thread-self"} {
		if rest, ok := strings.CutPrefix(p, self); ok && (rest == "" || rest[0] == '/') {
			return rest, true
		}
	}
	return "", false
}

// permits reports whether modes let a task of the jail do what (4 read, 2 write, 1 execute) to what is there.
func (v *view) permits(l *look, what uint32) bool {
	if v.ids.all {
		return what&1 == 0 || l.mode&0o111 != 0 || l.mode&unix.S_IFMT == unix.S_IFDIR
	}
	mode := l.mode
	switch {
	case l.uid == v.ids.uid:
		mode >>= 6
	case l.gid == v.ids.gid:
		mode >>= 3
	}
	return mode&what == what
}

// header is the beginning of what is looked at.
func (v *view) header(l *look) []byte {
	if !l.stays {
		return v.readHeader(l.resolved)
	}
	v.mu.RLock()
	header, ok := v.headers[l.resolved]
	v.mu.RUnlock()
	if ok {
		return header
	}
	header = v.readHeader(l.resolved)
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.headers) < maxHeaders {
		v.headers[l.resolved] = header
	}
	return header
}

// maxHeaders bounds what is remembered of the programs of a jail: 4 KiB each.
const maxHeaders = 1000

func (v *view) readHeader(p string) []byte {
	how := unix.OpenHow{Flags: unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NONBLOCK | unix.O_NOCTTY, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	fd, err := unix.Openat2(v.root, relative(p), &how)
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	buf := make([]byte, 4096)
	n, err := unix.Pread(fd, buf, 0)
	if err != nil || n <= 0 {
		return nil
	}
	return buf[:n]
}

// entries lists a directory of the jail, at most limit names.
func (v *view) entries(p string, limit int) []string {
	how := unix.OpenHow{Flags: unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	fd, err := unix.Openat2(v.root, relative(p), &how)
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	var names []string
	buf := make([]byte, 32<<10)
	for len(names) < limit {
		n, err := unix.Getdents(fd, buf)
		if err != nil || n <= 0 {
			break
		}
		_, _, names = unix.ParseDirent(buf[:n], limit-len(names), names)
	}
	return names
}

// normal appends to to what a typed path means: absolute, without "//" and "/./", with "..".
func normal(to []byte, base string, typed []byte) []byte {
	if len(typed) == 0 || typed[0] != '/' {
		to = append(to, base...)
	}
	for part := range bytes.SplitSeq(typed, []byte("/")) {
		if len(part) == 0 || len(part) == 1 && part[0] == '.' {
			continue
		}
		if n := len(to); n == 0 || to[n-1] != '/' {
			to = append(to, '/')
		}
		to = append(to, part...)
	}
	if len(to) == 0 {
		to = append(to, '/')
	}
	return to
}
