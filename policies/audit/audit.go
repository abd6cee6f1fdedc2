package audit

import (
	"encoding/json"
	"slices"
	"time"

	"hdjail/policies"
)

// Format is the version of the file and of the document. Readers refuse any other.
const Format = 1

// Audit is the whole record of one run.
type Audit struct {
	Header    Header
	Processes []Process
	Accesses  []Access
	Events    []Event
	// Output is what was found in the files that the run made, as JSON; nil where nobody looked.
	Output json.RawMessage
}

// Rest is what follows the accesses in a record.
type Rest struct {
	Events []Event
	Output json.RawMessage
}

// Header says what was recorded, how, and whether all of it is there.
type Header struct {
	Format      int    `json:"format"`
	Name        string `json:"name,omitempty"`
	Derivation  string `json:"derivation,omitempty"`
	Realization string `json:"realization,omitempty"`
	Mode        string `json:"mode"`
	// PolicyDigest is that of the policy in force.
	PolicyDigest string `json:"policy_digest,omitempty"`
	System       string `json:"system"`
	Kernel       string `json:"kernel"`
	// Observers are those that watched; none means that nothing was recorded.
	Observers []Observer `json:"observers"`
	// Recorded is "all", or "none" without observers.
	Recorded string   `json:"recorded"`
	Enforced Enforced `json:"enforced"`
	// Degradations are those that the user allowed.
	Degradations []string      `json:"degradations,omitempty"`
	Start        time.Time     `json:"start"`
	Duration     time.Duration `json:"duration_ns"`
	Exit         int           `json:"exit"`
	// Complete is earned: it is false with at least one of IncompleteReasons.
	Complete          bool     `json:"complete"`
	IncompleteReasons []string `json:"incomplete_reasons,omitempty"`
	Counters          Counters `json:"counters"`
	// Command is what was run, for a record that belongs to no derivation.
	Command []string `json:"command,omitempty"`
	// Whitelist are the host packages and paths that were allowed.
	Whitelist Whitelist `json:"whitelist"`
}

// Whitelist is what a run was allowed to see of the host. Requested are the names that were asked for, Packages their
// closure.
type Whitelist struct {
	Requested []string `json:"requested,omitempty"`
	Packages  []Owner  `json:"packages,omitempty"`
	Paths     []string `json:"paths,omitempty"`
	// Writable are the directories of the host that the run could change.
	Writable []string `json:"writable,omitempty"`
	// Dependencies are the public paths of the artifacts that were visible.
	Dependencies []string `json:"dependencies,omitempty"`
}

// Observer is what watched a run, and what it guarantees, in words.
type Observer struct {
	Name       string   `json:"name"`
	Version    string   `json:"version,omitempty"`
	Guarantees []string `json:"guarantees,omitempty"`
}

// Enforced says which fences stood.
type Enforced struct {
	Tier    string `json:"tier"`
	Filters bool   `json:"filters"`
	// Landlock is the ABI of the fence behind the mounts, 0 for none.
	Landlock int `json:"landlock,omitempty"`
	// Limits names each limit in force and what enforces it.
	Limits  map[string]string `json:"limits,omitempty"`
	Missing []string          `json:"missing,omitempty"`
}

// Counters add up the record. Events is the sum of the counts of all accesses.
type Counters struct {
	Events    int64 `json:"events"`
	Unique    int64 `json:"unique"`
	Lost      int64 `json:"lost"`
	Restarted int64 `json:"restarted"`
	Aborted   int64 `json:"aborted"`
	// CanariesSent and CanariesSeen are the accesses that hdjail made itself to test the observer.
	CanariesSent int64 `json:"canaries_sent"`
	CanariesSeen int64 `json:"canaries_seen"`
	// Verdicts counts unique accesses.
	Verdicts map[policies.Verdict]int64 `json:"verdicts"`
}

// Process is one program that ran: one entry an exec, not a pid.
type Process struct {
	ID int `json:"id"`
	// PID is the jail's.
	PID int `json:"pid"`
	// Parent is the ID of the process that started it, 0 for none that is known; Orphan tells that there was one.
	Parent int    `json:"parent,omitempty"`
	Orphan bool   `json:"orphan,omitempty"`
	Exe    string `json:"exe"`
	// Argv is cut after 4 KiB, then Truncated.
	Argv      []string `json:"argv,omitempty"`
	Truncated bool     `json:"truncated,omitempty"`
	Cwd       string   `json:"cwd,omitempty"`
	// Start is since the beginning of the run.
	Start time.Duration `json:"start_ns"`
}

// Access is one entry of the record: all accesses of one operation, path and outcome.
type Access struct {
	Op policies.Operation
	// Path is absolute, as typed, and need not be UTF-8.
	Path string
	// Resolved is where the kernel ended, where that differs; Via are the links on the way.
	Resolved string
	Via      []string
	// Errno is the outcome: 0 for success, else the number on the machine that recorded.
	Errno int
	// Inferred tells that the outcome was looked up beside the call, and not taken from the kernel.
	Inferred bool
	Verdict  policies.Verdict
	Reason   string
	Flags    []string
	Calls    []string
	Count    int64
	// First is since the beginning of the run; Process is the ID of who did it first.
	First   time.Duration
	Process int
	// Host is what the host has at a hidden path.
	Host *HostFile
	// Owners are the host packages that own the path; none for an absent one.
	Owners []Owner
}

// FlagNoise marks an access outside the whitelist that a rule calls noise: it fails no build.
const FlagNoise = "noise"

// Outside reports whether the access wanted something outside the whitelist, or may have, and it matters.
func (a *Access) Outside() bool { return a.Verdict.Outside() && !slices.Contains(a.Flags, FlagNoise) }

// HostFile tells what the host has at a path.
type HostFile struct {
	Type  string `json:"type"` // "file", "directory", "link" or "other"
	Inode uint64 `json:"inode,omitempty"`
}

// Owner is a host package.
type Owner struct {
	Package      string `json:"package"`
	Version      string `json:"version,omitempty"`
	Architecture string `json:"architecture,omitempty"`
	Digest       string `json:"digest,omitempty"`
}

// Event is something that happened to the run as a whole, like a limit that was reached.
type Event struct {
	Name   string        `json:"name"`
	Path   string        `json:"path,omitempty"`
	Detail string        `json:"detail,omitempty"`
	Time   time.Duration `json:"time_ns"`
}
