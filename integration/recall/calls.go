package main

import "strings"

// argument says where a call has a path: the index of the directory's descriptor (-1 for the working directory) and that
// of the path.
type argument struct {
	op        string
	dir, path int
}

// shape is what the referee knows of a call.
type shape struct {
	paths []argument
	// flags is the index of the AT_* flags, -1 for none.
	flags int
	// noFollow tells that the call never follows a link at the end of its path.
	noFollow bool
}

// shapes are the calls that name paths by their arguments alone. open and its family, getdents and sockets are special.
var shapes = makeShapes()

func makeShapes() map[string]shape {
	all := map[string]shape{}
	for _, row := range []struct{ op, plain, at string }{
		{"probe", "stat lstat! stat64 lstat64! oldstat oldlstat! access statfs statfs64 getxattr lgetxattr! listxattr llistxattr!",
			"newfstatat:3 fstatat64:3 statx:2 faccessat faccessat2:3 name_to_handle_at:4"},
		{"readlink", "readlink!", "readlinkat!"},
		{"chdir", "chdir chroot", ""},
		{"exec", "execve uselib", "execveat:4"},
		{"create", "mkdir! mknod!", "mkdirat! mknodat!"},
		{"remove", "unlink! rmdir!", "unlinkat!"},
		{"meta", "truncate truncate64 chmod chown chown32 lchown! lchown32! utime utimes setxattr lsetxattr! removexattr lremovexattr!",
			"fchmodat fchmodat2:3 fchownat:4 futimesat utimensat:3 utimensat_time64:3"},
		{"mount", "umount umount2 swapon swapoff", "open_tree:2"},
	} {
		addShapes(all, argument{row.op, -1, 0}, row.plain)
		addShapes(all, argument{row.op, 0, 1}, row.at)
	}
	for name, paths := range map[string][]argument{
		"symlink": {{"create", -1, 1}}, "symlinkat": {{"create", 1, 2}},
		"link": {{"link", -1, 0}, {"link", -1, 1}}, "linkat": {{"link", 0, 1}, {"link", 2, 3}},
		"rename": {{"rename", -1, 0}, {"rename", -1, 1}}, "renameat": {{"rename", 0, 1}, {"rename", 2, 3}},
		"renameat2": {{"rename", 0, 1}, {"rename", 2, 3}}, "pivot_root": {{"chdir", -1, 0}, {"chdir", -1, 1}},
		"inotify_add_watch": {{"watch", -1, 1}}, "mount": {{"mount", -1, 1}}, "move_mount": {{"mount", 0, 1}, {"mount", 2, 3}},
	} {
		all[name] = shape{paths: paths, flags: -1, noFollow: name != "inotify_add_watch" && name != "mount"}
	}
	return all
}

// addShapes adds the calls of a list like "lstat! statx:2", which all have their path at the same place: an exclamation mark
// for those that follow no link, a number for where the flags are.
func addShapes(all map[string]shape, where argument, names string) {
	for _, name := range strings.Fields(names) {
		s := shape{paths: []argument{where}, flags: -1}
		name, s.noFollow = strings.CutSuffix(name, "!")
		if base, index, ok := strings.Cut(name, ":"); ok {
			name, s.flags = base, int(index[0]-'0')
		}
		all[name] = s
	}
}

// openFlags returns the flags of a call of the open family and where its path is.
func openFlags(c *call) (flags string, dir, path int, ok bool) {
	switch {
	case c.name == "creat" && len(c.args) > 1:
		return "O_WRONLY|O_CREAT|O_TRUNC", -1, 0, true
	case c.name == "open" && len(c.args) > 1:
		return c.args[1], -1, 0, true
	case (c.name == "openat" || c.name == "openat2") && len(c.args) > 2:
		return c.args[2], 0, 1, true
	}
	return "", 0, 0, false
}

// openOps are the operations of an open with these flags.
func openOps(flags string) (ops []string) {
	has := func(flag string) bool { return strings.Contains(flags, flag) }
	if has("O_PATH") {
		return []string{"probe"}
	}
	if !has("O_WRONLY") {
		ops = append(ops, "read")
	}
	if has("O_WRONLY") || has("O_RDWR") || has("O_CREAT") || has("O_TRUNC") || has("O_TMPFILE") {
		ops = append(ops, "write")
	}
	return ops
}

// socketPath is what connect and bind name, as an audit writes it: a path, @name, or address:port.
func socketPath(arg string) (path string, unix, ok bool) {
	field := func(name string) string {
		_, rest, found := strings.Cut(arg, name)
		if !found || rest == "" {
			return ""
		}
		if rest[:1] != `"` {
			return rest
		}
		text, _ := quoted(rest[:skipQuoted(rest, 0)+1])
		return text
	}
	switch {
	case strings.Contains(arg, "sun_path=@"):
		return "@" + field("sun_path=@"), true, true
	case strings.Contains(arg, "sun_path="):
		return field("sun_path="), true, true
	case strings.Contains(arg, "inet_addr("):
		return field("inet_addr(") + ":" + port(field("sin_port=htons(")), false, true
	case strings.Contains(arg, "inet_pton("):
		return "[" + field("inet_pton(AF_INET6, ") + "]:" + port(field("sin6_port=htons(")), false, true
	}
	return "", false, false
}

func port(text string) string {
	digits, _, _ := strings.Cut(text, ")")
	return digits
}
