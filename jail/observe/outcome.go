package observe

import (
	"bytes"
	"path"
	"syscall"

	"golang.org/x/sys/unix"

	"hdjail/policies"
)

// infer says how a call ends that is about to go on, from what is at its path and the modes there. It fills in what a kernel
// would answer; what other tasks do in between is not seen.
func (v *view) infer(p *Pending, i int) syscall.Errno {
	traced, c := p.call.Traced, &p.paths[i]
	switch c.unreadable {
	case "":
	case reasonTooLong:
		return unix.ENAMETOOLONG
	case reasonBase:
		return unix.EBADF
	case reasonNoDir:
		return unix.ENOTDIR
	default:
		return unix.EFAULT
	}
	switch traced.Kind {
	case policies.KindList:
		return v.inferList(c)
	case policies.KindConnect, policies.KindBind:
		return v.inferSocket(p, c)
	}
	switch {
	case p.resolve != 0:
		c.look = v.within(c, p.resolve)
	case c.removed:
		c.look = v.beside(c, p.call.TID, c.follow)
	default:
		c.look = v.at(c.path, p.call.TID, c.follow)
	}
	c.resolved = true
	if len(c.path) >= pathMax {
		return unix.ENAMETOOLONG
	}
	if c.slash && c.look.errno == 0 && c.look.mode&unix.S_IFMT != unix.S_IFDIR {
		return unix.ENOTDIR
	}
	switch traced.Kind {
	case policies.KindOpen, policies.KindOpenHow, policies.KindCreat:
		return v.inferOpen(p, c)
	case policies.KindMkdir, policies.KindMknod, policies.KindSymlink:
		return v.inferCreate(c)
	case policies.KindLink, policies.KindRename:
		return v.inferMove(p, i)
	case policies.KindUnlink, policies.KindRmdir:
		return v.inferRemove(p, c)
	}
	if c.look.errno != 0 {
		return c.look.errno
	}
	return v.inferExisting(p, c)
}

// inferExisting is for calls that want something to be there, and it is.
func (v *view) inferExisting(p *Pending, c *pendingPath) syscall.Errno {
	kind := c.look.mode & unix.S_IFMT
	switch p.call.Traced.Kind {
	case policies.KindAccess:
		return v.inferAccess(c, uint32(p.call.arg(p.call.Traced.Mode))&7)
	case policies.KindReadlink:
		if kind != unix.S_IFLNK {
			return unix.EINVAL
		}
	case policies.KindChdir:
		if kind != unix.S_IFDIR {
			return unix.ENOTDIR
		}
		if !v.permits(&c.look, 1) {
			return unix.EACCES
		}
	case policies.KindExec:
		return v.inferExec(p, c)
	case policies.KindMeta, policies.KindTruncate:
		switch {
		case !c.look.area.writable:
			return unix.EROFS
		case p.call.Traced.Kind == policies.KindTruncate && kind == unix.S_IFDIR:
			return unix.EISDIR
		case !v.ids.all && c.look.uid != v.ids.uid:
			return unix.EPERM
		}
	case policies.KindWatch:
		if !v.permits(&c.look, 4) {
			return unix.EACCES
		}
	}
	return 0
}

func (v *view) inferAccess(c *pendingPath, want uint32) syscall.Errno {
	special := c.look.mode&unix.S_IFMT != unix.S_IFREG && c.look.mode&unix.S_IFMT != unix.S_IFDIR && c.look.mode&unix.S_IFMT != unix.S_IFLNK
	if want&2 != 0 && !c.look.area.writable && !special {
		return unix.EROFS
	}
	if want != 0 && !v.permits(&c.look, want) {
		return unix.EACCES
	}
	return 0
}

func (v *view) inferOpen(p *Pending, c *pendingPath) syscall.Errno {
	flags := p.openFlags
	kind := c.look.mode & unix.S_IFMT
	if c.look.errno != 0 {
		if c.look.errno == unix.ENOENT && flags&unix.O_CREAT != 0 {
			return v.inferCreate(c)
		}
		return c.look.errno
	}
	writes := flags&unix.O_ACCMODE != unix.O_RDONLY || flags&unix.O_TRUNC != 0
	switch {
	case flags&unix.O_CREAT != 0 && flags&unix.O_EXCL != 0:
		return unix.EEXIST
	case flags&unix.O_PATH == 0 && kind == unix.S_IFLNK:
		return unix.ELOOP
	case flags&unix.O_TMPFILE == unix.O_TMPFILE:
		if kind != unix.S_IFDIR {
			return unix.ENOTDIR
		}
		if !c.look.area.writable {
			return unix.EROFS
		}
		return 0
	case flags&unix.O_DIRECTORY != 0 && kind != unix.S_IFDIR:
		return unix.ENOTDIR
	case flags&unix.O_PATH != 0:
		return 0
	case kind == unix.S_IFDIR && (writes || flags&unix.O_CREAT != 0):
		return unix.EISDIR
	}
	return v.inferOpenModes(c, flags, writes)
}

func (v *view) inferOpenModes(c *pendingPath, flags uint64, writes bool) syscall.Errno {
	want := uint32(4)
	switch flags & unix.O_ACCMODE {
	case unix.O_WRONLY:
		want = 2
	case unix.O_RDWR:
		want = 6
	}
	if writes {
		want |= 2
	}
	if !v.permits(&c.look, want) {
		return unix.EACCES
	}
	switch c.look.mode & unix.S_IFMT {
	case unix.S_IFCHR:
		if c.look.resolved == "/dev/tty" && !v.terminal {
			return unix.ENXIO
		}
	case unix.S_IFREG:
		if writes && !c.look.area.writable {
			return unix.EROFS
		}
	case unix.S_IFSOCK:
		return unix.ENXIO
	}
	return 0
}

// inferCreate is for calls that make a name.
func (v *view) inferCreate(c *pendingPath) syscall.Errno {
	if c.look.errno == 0 {
		return unix.EEXIST
	}
	if c.look.errno != unix.ENOENT {
		return c.look.errno
	}
	parent := v.parent(c)
	switch {
	case parent.errno != 0:
		return parent.errno
	case parent.mode&unix.S_IFMT != unix.S_IFDIR:
		return unix.ENOTDIR
	case !parent.area.writable:
		return unix.EROFS
	case !v.permits(&parent, 3):
		return unix.EACCES
	}
	return 0
}

func (v *view) inferRemove(p *Pending, c *pendingPath) syscall.Errno {
	parent := v.parent(c)
	if parent.errno != 0 {
		return parent.errno
	}
	if !parent.area.writable {
		return unix.EROFS
	}
	if c.look.errno != 0 {
		return c.look.errno
	}
	isDir := c.look.mode&unix.S_IFMT == unix.S_IFDIR
	wantsDir := p.call.Traced.Kind == policies.KindRmdir || p.flags&unix.AT_REMOVEDIR != 0
	switch {
	case !v.permits(&parent, 3):
		return unix.EACCES
	case wantsDir && !isDir:
		return unix.ENOTDIR
	case !wantsDir && isDir:
		return unix.EISDIR
	case wantsDir && len(v.entries(c.look.resolved, 1)) > 0:
		return unix.ENOTEMPTY
	}
	return 0
}

// inferMove is for links and renames: both paths end alike, which is decided at the second. The order of the checks is the
// kernel's (do_linkat and do_renameat2 in fs/namei.c).
func (v *view) inferMove(p *Pending, i int) syscall.Errno {
	if i == 0 && p.n == 2 {
		return 0
	}
	from, to := &p.paths[0], &p.paths[i]
	if from.unreadable != "" {
		return unix.EFAULT
	}
	if p.call.Traced.Kind == policies.KindLink {
		if from.look.errno != 0 {
			return from.look.errno
		}
		if errno := v.inferCreate(to); errno != 0 {
			return errno
		}
		if from.look.area.target != to.look.area.target {
			return unix.EXDEV
		}
		return v.inferReplace(p, from, to)
	}
	source, dest := v.parent(from), v.parent(to)
	switch {
	case source.errno != 0:
		return source.errno
	case dest.errno != 0:
		return dest.errno
	case source.area.target != dest.area.target:
		return unix.EXDEV
	case !source.area.writable:
		return unix.EROFS
	case from.look.errno != 0:
		return from.look.errno
	case to.look.errno == 0 && p.flags&unix.RENAME_NOREPLACE != 0:
		return unix.EEXIST
	}
	return v.inferReplace(p, from, to)
}

// parent looks at the directory that a path's last name is in.
func (v *view) parent(c *pendingPath) look {
	return v.at([]byte(path.Dir(c.look.resolved)), c.tid, true)
}

func (v *view) inferReplace(p *Pending, from, to *pendingPath) syscall.Errno {
	fromDir, toDir := from.look.mode&unix.S_IFMT == unix.S_IFDIR, to.look.mode&unix.S_IFMT == unix.S_IFDIR
	switch {
	case p.call.Traced.Kind == policies.KindLink && fromDir:
		return unix.EPERM
	case p.call.Traced.Kind == policies.KindLink || to.look.errno != 0 || p.flags&unix.RENAME_EXCHANGE != 0:
		return 0
	case fromDir && !toDir:
		return unix.ENOTDIR
	case !fromDir && toDir:
		return unix.EISDIR
	case toDir && len(v.entries(to.look.resolved, 1)) > 0:
		return unix.ENOTEMPTY
	}
	return 0
}

// inferList is for a descriptor, which is open.
func (v *view) inferList(c *pendingPath) syscall.Errno {
	c.look = v.at(c.path, c.tid, true)
	c.resolved = true
	if c.look.errno == 0 && c.look.mode&unix.S_IFMT != unix.S_IFDIR {
		return unix.ENOTDIR
	}
	return 0
}

// inferExec also finds the interpreters of the file, which the kernel opens itself.
func (v *view) inferExec(p *Pending, c *pendingPath) syscall.Errno {
	if c.look.mode&unix.S_IFMT != unix.S_IFREG || !v.permits(&c.look, 1) || c.look.area.proc {
		return unix.EACCES
	}
	at := c.look
	for range maxInterpreters {
		header := v.header(&at)
		name, script := interpreter(header)
		if name == "" {
			if !script && len(header) > 0 && !bytes.HasPrefix(header, []byte("\x7fELF")) {
				return unix.ENOEXEC
			}
			return 0
		}
		full := normal(nil, p.directory, []byte(name))
		at = v.at(full, p.call.TID, true)
		errno := at.errno
		if errno == 0 && (at.mode&unix.S_IFMT != unix.S_IFREG || !v.permits(&at, 1)) {
			errno = unix.EACCES
		}
		p.implicit = append(p.implicit, implicit{path: string(full), look: at, errno: errno})
		if errno != 0 {
			return errno
		}
		if !script { // the loader of an ELF file has none of its own
			return 0
		}
	}
	return unix.ELOOP
}

// maxInterpreters is how many levels of scripts the kernel follows (fs/exec.c).
const maxInterpreters = 6

// interpreter returns what a file names to run it: after "#!", or in the program header of an ELF file.
func interpreter(header []byte) (name string, script bool) {
	if line, ok := bytes.CutPrefix(header, []byte("#!")); ok {
		line, _, _ = bytes.Cut(line[:min(len(line), 254)], []byte("\n"))
		line = bytes.Trim(line, " \t")
		if i := bytes.IndexAny(line, " \t\x00"); i >= 0 {
			line = line[:i]
		}
		return string(line), true
	}
	return elfInterpreter(header), false
}
