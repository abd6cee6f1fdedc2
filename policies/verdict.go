package policies

import "syscall"

// HostAnswer is what the host says of a path that a jail does not show.
type HostAnswer int

const (
	// HostUnasked is for accesses whose verdict does not depend on the host.
	HostUnasked HostAnswer = iota
	// HostHas means that the path exists on the host.
	HostHas
	// HostLacks means that the host answers as the jail did.
	HostLacks
	// HostRefuses means that the requesting user may not know.
	HostRefuses
	// HostSilent means that the host did not answer in time.
	HostSilent
)

// Facts are what a verdict depends on.
type Facts struct {
	Op    Operation
	Errno syscall.Errno // 0 for success
	// Unreadable says why the path or its base could not be told; empty when they could.
	Unreadable string
	// Refused tells that a filter of ours answered.
	Refused bool
	// NoFollow tells that the call does not follow a link at the end of its path.
	NoFollow bool
	// Visible tells that something is at the path in the jail; it counts where the outcome does not say so.
	Visible bool
	// Whitelisted tells that the path, and every link on its way, is inside the whitelist.
	Whitelisted bool
	// Own tells that the path lies in one of the jail's own areas, or in one where jail and host are the same.
	Own  bool
	Host HostAnswer
	// Covered tells that the policy shows something else in its place.
	Covered bool
	// Ruled is what a rule of the site says of the path; empty for nothing.
	Ruled RuleAction
	// Partial tells that a listed directory showed entries outside the whitelist.
	Partial bool
}

// NeedsHost reports whether the verdict depends on what the host has at the path.
func (f Facts) NeedsHost() bool {
	return f.Unreadable == "" && !f.refused() && !f.Own && !f.Covered && !f.there()
}

// Classify is the one place that judges an access. The reason is a few words, empty where the verdict says all. The rows are
// those of the table in docs/design.md.
func Classify(f Facts) (Verdict, string) {
	switch {
	case f.Unreadable != "":
		return Unknown, f.Unreadable
	case f.refused():
		return Denied, ""
	case f.Covered:
		return Hidden, "the policy covers it"
	case f.there() && f.Ruled == RuleNever:
		return Leaked, "never allowed, by a rule of the site"
	case f.there():
		return f.visible()
	case f.Own:
		return Absent, ""
	}
	switch f.Host {
	case HostHas:
		return Hidden, ""
	case HostRefuses:
		return Hidden, "the host refuses to tell"
	case HostSilent:
		return Hidden, "the host did not answer in time"
	}
	return Absent, ""
}

func (f Facts) visible() (Verdict, string) {
	switch {
	case !f.Whitelisted:
		return Leaked, ""
	case f.Partial:
		return Leaked, "shows entries outside the whitelist"
	}
	return Allowed, ""
}

func (f Facts) refused() bool {
	switch f.Errno {
	case syscall.EACCES, syscall.EPERM, syscall.EROFS, syscall.ENETUNREACH:
		return true
	}
	return f.Refused
}

// there reports whether something is at the path, as the answer tells, or else a look.
func (f Facts) there() bool {
	switch f.Errno {
	case 0, syscall.EEXIST, syscall.EISDIR, syscall.ENOTEMPTY, syscall.ETXTBSY, syscall.EBUSY, syscall.ENOEXEC,
		syscall.ENXIO, syscall.ENODATA, syscall.ERANGE, syscall.EOPNOTSUPP:
		return true
	case syscall.ENOENT:
		return f.Visible // the interpreter is missing, which has an access of its own, or the call resolves in its own way
	case syscall.ENOTDIR, syscall.ENAMETOOLONG:
		return false
	case syscall.EXDEV:
		return f.Visible || f.Op != OpRename // a rename across mounts is refused before anybody looks
	case syscall.ELOOP:
		return f.NoFollow
	case syscall.EINVAL:
		return f.Op == OpReadlink || f.Visible
	}
	return f.Visible
}
