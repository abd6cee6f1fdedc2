package main

import (
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// entry is one access, from either side.
type entry struct {
	op, path string
	errno    string // empty for success
	// noFollow tells that the call did not follow a link at the end of the path.
	noFollow bool
	// open tells that the outcome is not known: the process died in the call.
	open bool
	by   actor
	// empty tells that the typed path was empty: it is not compared, and excuses what an audit makes of it.
	empty bool
}

// actor is a program that was started: the pid that it was started in, which is not that of its forks, and the file, without
// links. exe is empty if it is not known, as of a script; pid is 0 for what is still strace.
type actor struct {
	pid int
	exe string
}

// directory is a working directory. All that inherit it share it, so a note of any of them tells where it is.
type directory struct{ path string }

// process is a task as far as it matters for relative paths.
type process struct {
	// fs is shared by what was cloned with CLONE_FS.
	fs *struct{ cwd *directory }
	// group is the pid that the task's /proc/self has.
	group int
	actor actor
}

// use is a call with what it stood in when it began.
type use struct {
	call  *call
	cwd   *directory
	group int
	actor actor
	// empty tells that the path in hand was typed as "".
	empty bool
}

// tracer follows the processes of a trace.
type tracer struct {
	processes map[int]*process
	start     string
	uses      []use
}

// accesses returns every access of a trace whose first process started in cwd.
func accesses(l *lexer, cwd string) []entry {
	t := &tracer{processes: map[int]*process{}, start: cwd}
	for _, e := range l.events {
		switch {
		case e.exit != 0:
			delete(t.processes, e.exit)
		case e.end:
			t.ended(e.call)
		default:
			t.began(e.call)
		}
	}
	var list []entry
	for _, u := range t.uses {
		list = append(list, u.entries()...)
	}
	return list
}

func (t *tracer) process(pid int) *process {
	p := t.processes[pid]
	if p == nil {
		p = &process{fs: &struct{ cwd *directory }{&directory{t.start}}, group: pid}
		t.processes[pid] = p
	}
	return p
}

func (t *tracer) began(c *call) {
	p := t.process(c.pid)
	for _, arg := range c.args {
		if path, ok := note(arg); ok && strings.HasPrefix(arg, "AT_FDCWD<") {
			p.fs.cwd.path = path
		}
	}
	t.uses = append(t.uses, use{call: c, cwd: p.fs.cwd, group: p.group, actor: p.actor})
	switch c.name {
	case "clone", "clone3", "fork", "vfork":
		t.forked(p, c)
	}
}

// forked makes the child as soon as the call begins: its first lines may come before the parent's end of the call.
func (t *tracer) forked(p *process, c *call) {
	child := c.child()
	if child == 0 {
		return
	}
	text := strings.Join(c.args, ",")
	n := &process{fs: p.fs, group: child, actor: p.actor}
	if !strings.Contains(text, "CLONE_FS") {
		n.fs = &struct{ cwd *directory }{p.fs.cwd}
	}
	if strings.Contains(text, "CLONE_THREAD") {
		n.group = p.group
	}
	t.processes[child] = n
}

func (t *tracer) ended(c *call) {
	if c.errno != "" || len(c.args) == 0 {
		return
	}
	p := t.process(c.pid)
	switch c.name {
	case "chdir":
		if path, ok := quoted(c.args[0]); ok {
			guess := absolute(p.fs.cwd.path, path)
			if real, err := filepath.EvalSymlinks(guess); err == nil {
				guess = real
			}
			p.fs.cwd = &directory{filepath.Clean(guess)}
		}
	case "execve", "execveat":
		p.actor = actor{c.pid, program(c, p.fs.cwd.path)}
		p.group = c.pid
	case "fchdir":
		if path, ok := note(c.args[0]); ok {
			p.fs.cwd = &directory{path}
		}
	case "getcwd":
		if path, ok := quoted(c.args[0]); ok && strings.HasPrefix(path, "/") {
			p.fs.cwd.path = path
		}
	}
}

// program is the file that an exec runs, as the host has it; empty if that is a script, or gone.
func program(c *call, cwd string) string {
	path, ok := quoted(c.args[0])
	if !ok {
		return ""
	}
	path, err := filepath.EvalSymlinks(absolute(cwd, path))
	if err != nil {
		return ""
	}
	file, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer file.Close()
	head := make([]byte, 4)
	if _, err := io.ReadFull(file, head); err != nil || string(head) != "\x7fELF" {
		return ""
	}
	return path
}

// entries are the accesses of one call. What names no path, or one that could not be read, has none.
func (u use) entries() []entry {
	c := u.call
	if !c.joined || strings.HasPrefix(c.errno, "ERESTART") || c.errno == "EFAULT" || c.errno == "EBADF" {
		return nil
	}
	switch c.name {
	case "getdents", "getdents64":
		if path, ok := note(argAt(c, 0)); ok {
			return u.list([]string{"list"}, path, false)
		}
		return nil
	case "connect", "bind":
		return u.socket()
	}
	if flags, dir, path, ok := openFlags(c); ok {
		if absolute, ok := u.resolve(dir, path); ok {
			return u.list(openOps(flags), absolute, strings.Contains(flags, "O_NOFOLLOW"))
		}
		return nil
	}
	s, ok := shapes[c.name]
	if !ok {
		return nil
	}
	var list []entry
	for _, a := range s.paths {
		flags := argAt(c, s.flags)
		path, ok := u.resolve(a.dir, a.path)
		if u.empty && strings.Contains(flags, "AT_EMPTY_PATH") {
			path, u.empty = strings.TrimSuffix(path, "/"), false
			ok = ok && c.name == "execveat"
		}
		if ok {
			list = append(list, u.list([]string{a.op}, path, s.noFollow || strings.Contains(flags, "NOFOLLOW"))...)
		}
	}
	return list
}

func (u use) socket() []entry {
	path, unix, ok := socketPath(argAt(u.call, 1))
	if !ok {
		return nil
	}
	if unix && path != "" && path[0] != '@' && path[0] != '/' {
		path = absolute(u.cwd.path, path)
	}
	if path == "" {
		return nil
	}
	op := "connect"
	if u.call.name == "bind" && unix {
		op = "create"
	}
	return u.list([]string{op}, path, op == "create")
}

func (u use) list(ops []string, path string, noFollow bool) (list []entry) {
	if strings.HasPrefix(path, "/") {
		path = normal(path, u.group)
	}
	for _, op := range ops {
		e := entry{op: op, path: path, errno: u.call.errno, noFollow: noFollow, empty: u.empty, by: u.actor}
		if u.call.result == "?" {
			e.open, e.errno = true, ""
		}
		list = append(list, e)
	}
	return list
}

// resolve makes the path of an argument absolute; not one that strace could not read, or with a base that it does not know.
func (u *use) resolve(dir, path int) (string, bool) {
	text, ok := quoted(argAt(u.call, path))
	if !ok {
		return "", false
	}
	u.empty = text == ""
	if strings.HasPrefix(text, "/") {
		return text, true
	}
	if dir < 0 {
		return absolute(u.cwd.path, text), true
	}
	base, ok := note(argAt(u.call, dir))
	return absolute(base, text), ok
}

func argAt(c *call, i int) string {
	if i < 0 || i >= len(c.args) {
		return ""
	}
	return c.args[i]
}

// absolute joins without removing "..", because a/../b depends on what a is.
func absolute(base, path string) string {
	if strings.HasPrefix(path, "/") {
		return path
	}
	return strings.TrimSuffix(base, "/") + "/" + path
}

// normal removes empty and "." components and writes pids below /proc as self, if they are the process's own, else <pid>.
func normal(path string, group int) string {
	var parts []string
	for _, part := range strings.Split(path, "/") {
		if part != "" && part != "." {
			parts = append(parts, part)
		}
	}
	if len(parts) > 1 && parts[0] == "proc" {
		if n, err := strconv.Atoi(parts[1]); err == nil {
			parts[1] = "<pid>"
			if n == group {
				parts[1] = "self"
			}
		}
	}
	return "/" + strings.Join(parts, "/")
}
