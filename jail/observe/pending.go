package observe

import (
	"bytes"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"hdjail/policies"
)

// Call is a system call of a jailed task that waits, as an observer found it in the tables.
type Call struct {
	TID  int
	ABI  policies.ABI
	Args [6]uint64
	Name string
	// Traced says how to read its paths; nil for a call that is only refused.
	Traced *policies.TracedCall
	// Refused is what our own filter answers; 0 lets the call go on.
	Refused syscall.Errno
	// Told says that the observer will learn the kernel's answer (EndKnown).
	Told bool
}

// arg is an argument, 0 for an index of -1.
func (c *Call) arg(i int) uint64 {
	if i < 0 {
		return 0
	}
	return c.Args[i]
}

// Pending is a call between its beginning and its end. The zero Pending is ready, and can be used again after Log.End.
type Pending struct {
	call      Call
	paths     [2]pendingPath
	n         int
	flags     uint64
	openFlags uint64
	resolve   uint64 // RESOLVE_* of openat2
	errno     syscall.Errno
	inferred  bool
	argv      []string
	truncated bool
	directory string // the caller's, of an exec
	implicit  []implicit
	task      *task
	program   int // what the task ran when it made the call: it may go on with another one before the call is counted
	mem       memory
	buffers   [2][]byte
	// first is the call's first path as it was typed, read ahead; it is valid until the next one is read.
	first   typed
	usual   *entry // of a call that is known already
	usualOK bool   // the call may become known
}

// typed is a path as a caller has it.
type typed struct {
	text       []byte
	unreadable string
}

// Named reports, between Log.Begin and Log.End, whether the call names anything: if not, how it ends is of no interest.
func (p *Pending) Named() bool { return p.n > 0 }

// pendingPath is one path of a call.
type pendingPath struct {
	op     policies.Operation
	also   policies.Operation // a second operation of the same call, empty for none
	path   []byte
	follow bool
	// slash tells that the typed path ends so that it must be a directory.
	slash bool
	// base and typed are kept for calls that resolve in a way of their own.
	base       string
	typed      string
	removed    bool // the base is a directory that is no more
	unreadable string
	tid        int
	look       look
	resolved   bool // look is filled in
	implicit   bool // no call named it: the kernel opened it
}

// implicit is a file that the kernel opens itself while it executes another.
type implicit struct {
	path  string
	look  look
	errno syscall.Errno
}

// executeCheck is AT_EXECVE_CHECK (Linux 6.14): the call only asks whether a file could be executed.
const executeCheck = 0x10000

// atFDCWD is AT_FDCWD as an int, which is how wide the kernel looks at it.
const atFDCWD = -100

// start begins a call: it reads its flags and its first path.
func (p *Pending) start(c Call, proc int) {
	p.call, p.n, p.argv, p.truncated, p.implicit, p.errno = c, 0, nil, false, p.implicit[:0], c.Refused
	p.mem.proc, p.first, p.usual, p.usualOK = proc, typed{}, nil, false
	if c.Traced == nil {
		return
	}
	p.readFlags()
	if address := c.arg(c.Traced.Paths[0].Arg); address != 0 && !c.Traced.Kind.IsSocket() {
		p.first.text, p.first.unreadable = p.mem.text(c.TID, address)
	}
}

// decode reads what the call names. It runs while the caller waits.
func (p *Pending) decode() {
	c := p.call
	if c.Traced == nil {
		return
	}
	for i, arg := range c.Traced.Paths {
		c := &p.paths[p.n]
		*c = pendingPath{tid: p.call.TID, path: p.buffers[i][:0], follow: p.follows()}
		if p.readPath(c, arg) {
			p.buffers[i] = c.path
			c.op, c.also = p.operation()
			p.n++
		}
	}
	if c.Traced.Kind == policies.KindExec && c.Refused == 0 {
		p.argv, p.truncated = p.mem.argv(c.TID, c.arg(c.Traced.Mode), p.wordSize())
		p.directory, _ = p.base(atFDCWD)
		p.directory = strings.TrimSuffix(p.directory, removedMark)
	}
}

func (p *Pending) wordSize() int {
	if p.call.ABI == policies.I386 {
		return 4
	}
	return 8
}

func (p *Pending) readFlags() {
	t := p.call.Traced
	p.flags = p.call.arg(t.Flags) & 0xffffffff
	p.openFlags, p.resolve = 0, 0
	switch t.Kind {
	case policies.KindOpen:
		p.openFlags = p.flags
	case policies.KindCreat:
		p.openFlags = unix.O_CREAT | unix.O_WRONLY | unix.O_TRUNC
	case policies.KindOpenHow: // struct open_how: flags, mode, resolve
		p.openFlags, _ = p.mem.word(p.call.TID, p.call.arg(t.Flags), 8)
		p.resolve, _ = p.mem.word(p.call.TID, p.call.arg(t.Flags)+16, 8)
	default:
		return
	}
	p.flags = 0
}

// follows reports whether the call follows a link at the end of its path.
func (p *Pending) follows() bool {
	t := p.call.Traced
	switch t.Kind {
	case policies.KindOpen, policies.KindOpenHow, policies.KindCreat:
		exclusive := p.openFlags&(unix.O_CREAT|unix.O_EXCL) == unix.O_CREAT|unix.O_EXCL
		return p.openFlags&unix.O_NOFOLLOW == 0 && !exclusive
	case policies.KindLink, policies.KindHandle:
		return p.flags&unix.AT_SYMLINK_FOLLOW != 0
	case policies.KindWatch:
		return p.flags&unix.IN_DONT_FOLLOW == 0
	}
	return !t.NoFollow && p.flags&unix.AT_SYMLINK_NOFOLLOW == 0
}

// operation says what the call does to its paths.
func (p *Pending) operation() (op, also policies.Operation) {
	switch p.call.Traced.Kind {
	case policies.KindOpen, policies.KindOpenHow, policies.KindCreat:
		return openOperations(p.openFlags)
	case policies.KindReadlink:
		return policies.OpReadlink, ""
	case policies.KindList:
		return policies.OpList, ""
	case policies.KindChdir:
		return policies.OpChdir, ""
	case policies.KindExec:
		if p.flags&executeCheck != 0 {
			return policies.OpProbe, ""
		}
		return policies.OpExec, ""
	case policies.KindMkdir, policies.KindMknod, policies.KindSymlink, policies.KindBind:
		return policies.OpCreate, ""
	case policies.KindLink:
		return policies.OpLink, ""
	case policies.KindUnlink, policies.KindRmdir:
		return policies.OpRemove, ""
	case policies.KindRename:
		return policies.OpRename, ""
	case policies.KindMeta, policies.KindTruncate:
		return policies.OpMeta, ""
	case policies.KindXattr:
		if p.call.Traced.Changes() {
			return policies.OpMeta, ""
		}
	case policies.KindMount:
		return policies.OpMount, ""
	case policies.KindWatch:
		return policies.OpWatch, ""
	case policies.KindConnect:
		return policies.OpConnect, ""
	}
	return policies.OpProbe, ""
}

func openOperations(flags uint64) (op, also policies.Operation) {
	mode := flags & unix.O_ACCMODE
	writes := mode != unix.O_RDONLY || flags&(unix.O_CREAT|unix.O_TRUNC) != 0 || flags&unix.O_TMPFILE == unix.O_TMPFILE
	reads := mode == unix.O_RDONLY || mode == unix.O_RDWR
	switch {
	case flags&unix.O_PATH != 0:
		return policies.OpProbe, ""
	case reads && writes:
		return policies.OpRead, policies.OpWrite
	case writes:
		return policies.OpWrite, ""
	}
	return policies.OpRead, ""
}

// readPath reads one path of the call and reports whether there is one: an empty path means the descriptor itself, which
// is no access but where something is executed or linked.
func (p *Pending) readPath(c *pendingPath, arg policies.PathArg) bool {
	kind := p.call.Traced.Kind
	if kind.IsSocket() {
		return p.readAddress(c, arg)
	}
	base := int32(atFDCWD)
	if arg.Base >= 0 {
		base = int32(p.call.arg(arg.Base))
	}
	if arg.Arg < 0 {
		return p.descriptor(c, base)
	}
	address := p.call.arg(arg.Arg)
	if address == 0 {
		return false
	}
	typed, unreadable := p.first.text, p.first.unreadable
	if p.n > 0 || arg != p.call.Traced.Paths[0] {
		typed, unreadable = p.mem.text(p.call.TID, address)
	}
	if unreadable != "" {
		c.unreadable = unreadable
		return true
	}
	if len(typed) == 0 {
		if p.flags&unix.AT_EMPTY_PATH != 0 && (kind == policies.KindExec || kind == policies.KindLink) {
			return p.descriptor(c, base)
		}
		return false
	}
	last := typed[len(typed)-1]
	c.slash = last == '/' || last == '.' && (len(typed) == 1 || typed[len(typed)-2] == '/')
	c.follow = c.follow || last == '/'
	from := "/"
	if typed[0] != '/' || p.resolve != 0 {
		if from, c.unreadable = p.base(base); c.unreadable != "" {
			return true
		}
	}
	if undeleted, removed := strings.CutSuffix(from, removedMark); removed && typed[0] != '/' {
		from, c.removed, c.base, c.typed = undeleted, true, undeleted, string(typed)
	}
	if p.resolve != 0 {
		c.base, c.typed = from, string(typed)
		if p.resolve&unix.RESOLVE_IN_ROOT != 0 {
			typed = bytes.TrimLeft(typed, "/")
		}
	}
	c.path = normal(c.path, from, typed)
	return true
}

// base is the directory that a path is relative to.
func (p *Pending) base(fd int32) (dir, unreadable string) {
	name := strconv.Itoa(p.call.TID) + "/cwd"
	if fd != atFDCWD {
		name = strconv.Itoa(p.call.TID) + "/fd/" + strconv.Itoa(int(fd))
	}
	return p.place(name)
}

// place is where a link of /proc to a directory leads, from the root of the jail.
func (p *Pending) place(name string) (dir, unreadable string) {
	dir, ok := p.mem.link(name)
	if !ok {
		return "", reasonBase
	}
	if !strings.HasPrefix(dir, "/") {
		return "", reasonNoDir
	}
	if undeleted, marked := strings.CutSuffix(dir, " (deleted)"); marked {
		var st unix.Stat_t
		if unix.Fstatat(p.mem.proc, name, &st, 0) == nil && st.Nlink == 0 {
			return undeleted + removedMark, ""
		}
	}
	return dir, ""
}

// removedMark ends a base that was removed. No path has it.
const removedMark = "\x00removed"

// descriptor makes the path that of an open file.
func (p *Pending) descriptor(c *pendingPath, fd int32) bool {
	dir, unreadable := p.base(fd)
	if unreadable == reasonBase && fd != atFDCWD {
		return false // no such descriptor: EBADF, and nothing was named
	}
	dir = strings.TrimSuffix(dir, removedMark)
	c.unreadable, c.follow = unreadable, true
	c.path = append(c.path[:0], dir...)
	return true
}
