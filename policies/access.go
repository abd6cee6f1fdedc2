package policies

import "slices"

// Operation is what an access did to a path, or tried to.
type Operation string

// The operations. A call with two paths is two accesses; one that opens for reading and writing is a read and a write.
const (
	OpRead     Operation = "read"
	OpWrite    Operation = "write"
	OpProbe    Operation = "probe" // existence and attributes: stat, access, O_PATH
	OpReadlink Operation = "readlink"
	OpList     Operation = "list"
	OpChdir    Operation = "chdir"
	OpExec     Operation = "exec"
	OpCreate   Operation = "create"
	OpRemove   Operation = "remove"
	OpRename   Operation = "rename"
	OpLink     Operation = "link"
	OpMeta     Operation = "meta" // modes, owners, times, attributes, length
	OpConnect  Operation = "connect"
	OpWatch    Operation = "watch"
	OpMount    Operation = "mount"
	OpCall     Operation = "call" // a refused call that names no path
)

// Operations lists all operations.
func Operations() []Operation {
	return []Operation{OpRead, OpWrite, OpProbe, OpReadlink, OpList, OpChdir, OpExec, OpCreate, OpRemove, OpRename, OpLink, OpMeta,
		OpConnect, OpWatch, OpMount, OpCall}
}

// Known reports whether o is one of Operations.
func (o Operation) Known() bool { return slices.Contains(Operations(), o) }

// Changes reports whether the operation changes what is at its path.
func (o Operation) Changes() bool {
	switch o {
	case OpWrite, OpCreate, OpRemove, OpRename, OpLink, OpMeta, OpMount:
		return true
	}
	return false
}

// Verdict is what an access means for the whitelist.
type Verdict string

const (
	// Allowed is inside the whitelist.
	Allowed Verdict = "allowed"
	// Hidden is outside it, exists on the host and was not visible: hiding changed the answer.
	Hidden Verdict = "hidden"
	// Leaked is outside it, exists and was visible.
	Leaked Verdict = "leaked"
	// Absent exists nowhere.
	Absent Verdict = "absent"
	// Denied is a refused write, permission or call.
	Denied Verdict = "denied"
	// Unknown is an access whose path could not be told; always reported.
	Unknown Verdict = "unknown"
)

// Verdicts lists all verdicts, the ones that matter most first.
func Verdicts() []Verdict { return []Verdict{Leaked, Hidden, Unknown, Denied, Absent, Allowed} }

// Known reports whether v is one of Verdicts.
func (v Verdict) Known() bool { return slices.Contains(Verdicts(), v) }

// Outside reports whether the verdict says that something outside the whitelist was wanted, or may have been.
func (v Verdict) Outside() bool { return v == Leaked || v == Hidden || v == Unknown }
