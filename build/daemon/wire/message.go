package wire

import (
	"encoding/json"
	"time"

	"hdjail/artifact"
	"hdjail/build/lockfile"
	"hdjail/hostpkgs"
	"hdjail/policies"
)

// Version is that of the protocol. A daemon refuses any other.
const Version = 1

// Request is what a client asks for: exactly one field besides Version is set.
type Request struct {
	Version int `json:"v"`
	// Hello asks what the daemon is.
	Hello *Hello `json:"hello,omitempty"`
	// Pin asks for the closure of host packages, and for their snapshots.
	Pin *Pin `json:"pin,omitempty"`
	// Owner asks which package owns a path.
	Owner *Owner `json:"owner,omitempty"`
	// Have asks which sources the store lacks.
	Have *Have `json:"have,omitempty"`
	// Put brings a source, as the content of the descriptor that comes along.
	Put *Put `json:"put,omitempty"`
	// Derive brings a derivation.
	Derive *artifact.Derivation `json:"derive,omitempty"`
	// Build realizes derivations.
	Build *Build `json:"build,omitempty"`
	// Jobs lists jobs.
	Jobs *Jobs `json:"jobs,omitempty"`
	// Attach follows a job.
	Attach *Attach `json:"attach,omitempty"`
}

// Hello is the first request. It says nothing, because the kernel says who the caller is.
type Hello struct{}

// Pin names host packages.
type Pin struct {
	Packages []string `json:"packages"`
}

// Owner names a path of the host.
type Owner struct {
	Path string `json:"path"`
}

// Have names sources by digest.
type Have struct {
	Digests []string `json:"digests"`
}

// Put names what the descriptor holds: a file, or for "tree:" a tar stream that has a pipe or a file.
type Put struct {
	Digest string `json:"digest"`
}

// Build is a plan: derivations that the store has by now, each after its dependencies, and which of them are wanted.
type Build struct {
	Steps   []Step                  `json:"steps"`
	Targets []artifact.DerivationID `json:"targets"`
	// Jobs is how many builds may run at once, 0 for as many as the daemon allows.
	Jobs      int           `json:"jobs,omitempty"`
	KeepGoing bool          `json:"keep_going,omitempty"`
	Strict    bool          `json:"strict,omitempty"`
	LockWait  time.Duration `json:"lock_wait,omitempty"`
	// Rebuild are the steps to build again. FailureTTL is for how long a failure is reported and not run again.
	Rebuild    []artifact.DerivationID `json:"rebuild,omitempty"`
	FailureTTL time.Duration           `json:"failure_ttl,omitempty"`
	// Detach lets the job go on when the client goes.
	Detach bool `json:"detach,omitempty"`
}

// Step is one derivation of a Build with what is no part of its identity.
type Step struct {
	ID artifact.DerivationID `json:"id"`
	// Mode is "hide", the default, or "fail".
	Mode policies.Mode `json:"mode,omitempty"`
	// Match is the text of a matcher, Locked are the realizations that a lock file wants instead of one.
	Match  string                 `json:"match,omitempty"`
	Locked []lockfile.Realization `json:"locked,omitempty"`
	Limits *Limits                `json:"limits,omitempty"`
	URLs   []string               `json:"urls,omitempty"` // of sources by git commit
}

// Limits are those that a spec states, in the units of spec.Limits.
type Limits struct {
	Memory  int64         `json:"memory,omitempty"`
	Pids    int64         `json:"pids,omitempty"`
	CPU     float64       `json:"cpu,omitempty"`
	Wall    time.Duration `json:"wall,omitempty"`
	Silence time.Duration `json:"silence,omitempty"`
	Output  int64         `json:"output,omitempty"`
	Files   int64         `json:"files,omitempty"`
	Log     int64         `json:"log,omitempty"`
}

// Jobs lists the caller's jobs; root's request all.
type Jobs struct{}

// Attach names a job by its ID, or by the beginning of it that no other has.
type Attach struct {
	Job string `json:"job"`
}

// Kind is the name of what is asked for, empty unless it is exactly one thing of this version.
func (r *Request) Kind() string {
	kind, n := "", 0
	for name, set := range map[string]bool{"hello": r.Hello != nil, "pin": r.Pin != nil, "owner": r.Owner != nil, "have": r.Have != nil,
		"put": r.Put != nil, "derive": r.Derive != nil, "build": r.Build != nil, "jobs": r.Jobs != nil, "attach": r.Attach != nil} {
		if set {
			kind, n = name, n+1
		}
	}
	if n != 1 || r.Version != Version {
		return ""
	}
	return kind
}

// Reply is what the daemon answers: exactly one field besides Version is set.
type Reply struct {
	Version int         `json:"v"`
	Daemon  *DaemonInfo `json:"daemon,omitempty"`
	Pins    *Pins       `json:"pins,omitempty"`
	Owned   *Owned      `json:"owned,omitempty"`
	Missing *Missing    `json:"missing,omitempty"`
	Stored  *Stored     `json:"stored,omitempty"`
	// Job names the job that the following events are about.
	Job *JobInfo `json:"job,omitempty"`
	// Event is a build.Event, as the builder sent it.
	Event json.RawMessage `json:"event,omitempty"`
	Done  *Done           `json:"done,omitempty"`
	Jobs  *JobList        `json:"jobs,omitempty"`
	Error *Problem        `json:"error,omitempty"`
}

// DaemonInfo is what a daemon is.
type DaemonInfo struct {
	Store  string `json:"store"`
	Prefix string `json:"prefix"`
	System string `json:"system"`
}

// Pins is a closure of host packages.
type Pins struct {
	Packages []hostpkgs.Pinned `json:"packages"`
}

// Owned tells the package that owns a path, if there is one.
type Owned struct {
	Package string `json:"package,omitempty"`
	Owned   bool   `json:"owned"`
}

// Missing lists the sources that the store lacks.
type Missing struct {
	Digests []string `json:"digests"`
}

// Stored is the digest of a source or the ID of a derivation that the store has now.
type Stored struct {
	ID string `json:"id"`
}

// JobInfo tells of a job.
type JobInfo struct {
	ID  string `json:"id"`
	UID int    `json:"uid"`
	// State is "queued", "running", "done" or "failed".
	State    string    `json:"state"`
	Name     string    `json:"name"`
	Targets  int       `json:"targets"`
	Detached bool      `json:"detached,omitempty"`
	Queued   time.Time `json:"queued"`
	Started  time.Time `json:"started,omitzero"`
	Ended    time.Time `json:"ended,omitzero"`
}

// JobList lists jobs, oldest first.
type JobList struct {
	Jobs []JobInfo `json:"jobs"`
}

// Done is how a job ended: the results of targets, in the order of the request, and what went wrong, nil for nothing.
type Done struct {
	Results []Result `json:"results"`
	Problem *Problem `json:"problem,omitempty"`
}

// Result is a target with the realizations that were selected, none where it failed.
type Result struct {
	ID           artifact.DerivationID    `json:"id"`
	Realizations []artifact.RealizationID `json:"realizations,omitempty"`
	Cached       bool                     `json:"cached,omitempty"`
	// Built are what runs gave, whether they were selected or not.
	Built   []artifact.RealizationID `json:"built,omitempty"`
	Seconds float64                  `json:"seconds,omitempty"`
}

// Problem is an error as a person sees it.
type Problem struct {
	Code    string   `json:"code"`
	Exit    int      `json:"exit"`
	Text    string   `json:"text"`
	Details []string `json:"details,omitempty"`
	Help    []string `json:"help,omitempty"`
}
