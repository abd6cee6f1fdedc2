package main

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"
)

// judge says what an access should be called, from what strace saw and from what is on the host.
type judge struct {
	mode string
	// own are the areas of the jail itself, and what the run was given to see; links resolved.
	own []string
	// onHost are answers of the host, by path.
	onHost map[string]bool
}

// jailsOwn are the areas that every jail has.
var jailsOwn = []string{"/proc", "/build", "/tmp", "/var/tmp", "/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom",
	"/dev/tty", "/dev/pts", "/dev/ptmx", "/dev/shm", "/dev/fd", "/dev/stdin", "/dev/stdout", "/dev/stderr"}

var (
	refusals = []string{"EACCES", "EPERM", "EROFS", "ENETUNREACH", "ENOSYS"}
	// present are the outcomes that show that something is there.
	present = []string{"", "EEXIST", "EISDIR", "ENOTEMPTY", "ETXTBSY", "EXDEV", "EBUSY", "ENOEXEC", "ENXIO", "ENODATA", "ERANGE", "EOPNOTSUPP"}
	absent  = []string{"ENOENT", "ENOTDIR", "ELOOP", "ENAMETOOLONG"}
	// masked are places of the shipped policy that mode log shows empty.
	masked  = []string{"/etc/munge", "/etc/shadow", "/etc/gshadow", "/etc/shadow-", "/etc/gshadow-", "/etc/ssh", "/etc/krb5.keytab", "/etc/ssl/private"}
	lookups = []string{"probe", "readlink", "chdir"}
)

// verdicts are those that the access may have; none means that the referee has no opinion.
func (j *judge) verdicts(e entry) []string {
	switch {
	case e.open, magic(e), e.op == "connect" && !strings.HasPrefix(e.path, "/"):
		return nil
	case slices.Contains(refusals, e.errno):
		return []string{"denied"}
	case slices.Contains(present, e.errno), e.errno == "ELOOP" && e.noFollow, e.errno == "EINVAL" && e.op == "readlink":
		return j.visible(e)
	case slices.Contains(absent, e.errno):
		if e.op == "rename" || e.op == "link" {
			return nil // which of the two paths is missing, the errno does not tell
		}
		return j.missing(e)
	}
	return nil
}

func (j *judge) visible(e entry) []string {
	if j.mode != "log" { // what can be seen is inside the whitelist, or the jail has a hole
		return []string{"allowed"}
	}
	hops := j.hops(e)
	if slices.ContainsFunc(hops, func(hop string) bool {
		return slices.ContainsFunc(masked, func(m string) bool { return within(hop, m) })
	}) {
		return []string{"hidden", "leaked", "allowed"} // something is there, but not what the host has
	}
	if !slices.ContainsFunc(hops, func(hop string) bool { return !j.mine(hop) }) {
		return []string{"allowed"}
	}
	if last := hops[len(hops)-1]; j.above(last) {
		switch {
		case slices.Contains(lookups, e.op):
			return []string{"allowed"}
		case e.op == "read": // opening a directory looks up its entries, or lists them
			return []string{"allowed", "leaked"}
		}
	}
	return []string{"leaked"}
}

func (j *judge) missing(e entry) []string {
	hops := j.hops(e)
	if j.mine(hops[len(hops)-1]) {
		return []string{"absent"}
	}
	if strings.HasPrefix(e.path, "/dev/") {
		return []string{"absent", "hidden"}
	}
	if j.host(e) {
		return []string{"hidden"}
	}
	return []string{"absent"}
}

// mine reports whether a path lies in one of the jail's own areas.
func (j *judge) mine(path string) bool {
	return slices.ContainsFunc(j.own, func(area string) bool { return within(path, area) })
}

// above reports whether one of those areas lies below the path.
func (j *judge) above(path string) bool {
	return path == "/" || slices.ContainsFunc(j.own, func(area string) bool { return within(area, path) })
}

// magic reports whether a path leads through a link of /proc that no text describes.
func magic(e entry) bool {
	parts := strings.Split(e.path, "/")
	if len(parts) < 4 || parts[1] != "proc" || len(parts) == 4 && e.noFollow {
		return false
	}
	return slices.Contains([]string{"exe", "cwd", "root", "fd"}, parts[3]) && !(parts[3] == "fd" && (len(parts) < 5 || len(parts) == 5 && e.noFollow))
}

func within(path, area string) bool { return path == area || strings.HasPrefix(path, area+"/") }

// host reports whether the path exists on the host, or the host will not say.
func (j *judge) host(e entry) bool {
	key := e.path
	if e.noFollow {
		key += "\x00"
	}
	answer, known := j.onHost[key]
	if !known {
		look := os.Stat
		if e.noFollow {
			look = os.Lstat
		}
		_, err := look(e.path)
		answer = err == nil || errors.Is(err, fs.ErrPermission)
		j.onHost[key] = answer
	}
	return answer
}

// hops are the path itself without its links, last, and each link on the way to it, as the host has them now: what the build
// removed since is taken as no link.
func (j *judge) hops(e entry) (list []string) {
	at, rest := "", strings.Split(strings.Trim(e.path, "/"), "/")
	for budget := 40; len(rest) > 0; {
		part := rest[0]
		rest = rest[1:]
		if part == ".." {
			at = at[:max(0, strings.LastIndexByte(at, '/'))]
			continue
		}
		next := at + "/" + part
		if len(rest) == 0 && e.noFollow || within(next, "/proc") && part != "proc" {
			at = next // links of /proc lead elsewhere for everybody
			continue
		}
		target, err := os.Readlink(next)
		if err != nil || budget == 0 {
			at = next
			if errors.Is(err, syscall.ENOTDIR) {
				break
			}
			continue
		}
		budget--
		list = append(list, next)
		if strings.HasPrefix(target, "/") {
			at = ""
		}
		rest = append(strings.Split(strings.Trim(target, "/"), "/"), rest...)
	}
	if at == "" {
		at = "/"
	}
	return append(list, at)
}
