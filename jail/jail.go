package jail

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"hdjail/jail/observe"
	"hdjail/mounts"
	"hdjail/policies"
)

// Layout is the version of what a jail looks like to a build. It is part of every DerivationID.
const Layout = 2

// Paths and ids inside every jail.
const (
	BuildDir = "/build"
	UserName = "build"
	UserID   = 1000
)

// Config is everything a Runner needs to run one command. It is a value: a Runner changes nothing in it.
type Config struct {
	// Name is for messages and for the names of cgroups.
	Name string `json:"name"`
	// Scratch is the work area made by the same Runner, which the writable mounts lead to.
	Scratch *Scratch        `json:"-"`
	Mounts  mounts.Table    `json:"mounts"`
	Mode    policies.Mode   `json:"mode"`
	Policy  policies.Policy `json:"policy"`
	// Args is the command. Args[0] is a path in the jail, or a name that is looked up in the PATH of Env.
	Args []string `json:"args"`
	// Env is the whole environment, sorted, each NAME=VALUE.
	Env []string `json:"env"`
	// Dir is the directory in the jail that the command starts in.
	Dir    string `json:"dir"`
	Limits Limits `json:"limits"`
	// Vary changes what no build should depend on, for checks; the zero value is what every other jail has.
	Vary Vary `json:"vary,omitzero"`
	// Host keeps the caller's ids and, for root, the file capabilities: `hdjail run` in modes log and off only.
	Host bool `json:"host,omitempty"`
	// Stdio are the command's streams. Stdin nil is /dev/null.
	Stdin  *os.File  `json:"-"`
	Stdout io.Writer `json:"-"`
	Stderr io.Writer `json:"-"`
	// Terminal gives the command a terminal of the jail's own, relayed to Stdin and Stdout.
	Terminal bool `json:"terminal,omitempty"`
	// Log takes what the command does with files; nil for no record. In mode off there is none.
	Log *observe.Log `json:"-"`
}

// Vary is how a jail differs from others of the same layout.
type Vary struct {
	// Hostname is the name of the jail's host; empty is DefaultHostname.
	Hostname string `json:"hostname,omitempty"`
	// CPUs are the numbers of the processors that the command starts with, sorted; none for the caller's.
	CPUs []int `json:"cpus,omitempty"`
	// SkipPIDs is how many process numbers are passed over before the command gets one, at most MaxSkipPIDs.
	SkipPIDs int `json:"skip_pids,omitempty"`
}

// Bounds of Vary, and what it changes.
const (
	DefaultHostname = "localhost"
	MaxSkipPIDs     = 4096
	MaxCPU          = 8191 // the highest number that a kernel can be configured for on any machine (NR_CPUS)
)

// Limits bound one run. 0 is no limit of ours.
type Limits struct {
	Memory  int64         `json:"memory,omitempty"`  // bytes, all processes together
	Pids    int64         `json:"pids,omitempty"`    // processes and threads
	CPU     float64       `json:"cpu,omitempty"`     // processors
	Wall    time.Duration `json:"wall,omitempty"`    // from start to end
	Silence time.Duration `json:"silence,omitempty"` // without a byte of output
	Output  int64         `json:"output,omitempty"`  // bytes of the scratch, and of one file
	Files   int64         `json:"files,omitempty"`   // files, directories and links of the scratch
	Log     int64         `json:"log,omitempty"`     // bytes of standard output and error together
}

// Result is how a run ended.
type Result struct {
	// Exit is the exit status of the command; 128+n when signal n ended it.
	Exit int `json:"exit"`
	// Signal is the signal that ended the command, 0 for none.
	Signal int `json:"signal,omitempty"`
	// Stopped is the limit that ended the run: "wall", "silence", "log", "output", "files", "memory" or "pids"; empty for none.
	Stopped  string        `json:"stopped,omitempty"`
	Wall     time.Duration `json:"wall_ns"`
	Enforced Enforced      `json:"enforced"`
	Usage    Usage         `json:"usage"`
	// Survivors is how many processes had to be ended after the command.
	Survivors int `json:"survivors,omitempty"`
}

// Enforced says which fences stood, for the audit.
type Enforced struct {
	// Tier is "full", "no-netns" for a jail in the host's network namespace, or "none".
	Tier string `json:"tier"`
	// Filters tells whether system call filters were loaded.
	Filters bool `json:"filters"`
	// Landlock is the ABI of the fence behind the mounts, 0 for none (landlock(7)).
	Landlock int `json:"landlock,omitempty"`
	// Limits names each limit in force and what enforces it: "memory": "cgroup".
	Limits map[string]string `json:"limits,omitempty"`
	// Missing lists second fences that the host did not have, with the reason.
	Missing []string `json:"missing,omitempty"`
}

// Usage is what a run used; a field is 0 where nobody counted.
type Usage struct {
	CPU        time.Duration `json:"cpu_ns,omitempty"`
	PeakMemory int64         `json:"peak_memory,omitempty"` // bytes
}

// Runner runs commands in jails. Implementations are safe for concurrent use.
type Runner interface {
	// Scratch makes dir, an existing directory of the store that nobody else knows, a fresh work area for the ids that the
	// build will run with. The caller removes the directory, in which a build may have left anything, and then calls Close.
	Scratch(ctx context.Context, dir string) (*Scratch, error)
	// Run runs the command and returns when no process of the jail exists any more. The error is nil whenever the command
	// was started, however it ended; *SetupError, *CommandError or *Unsupported when it was not. Cancelling ctx kills
	// every process and then waits; Run returns ctx's cause.
	Run(ctx context.Context, c Config) (Result, error)
}

// Scratch is the work area of one jail: a directory with a random name that only the runner and the build can enter.
type Scratch struct {
	// Dir is its path on the host; Build, Tmp and VarTmp are directories in it, and Out is one if its owner makes it.
	Dir string
	// UID and GID own everything the build writes, on the host.
	UID, GID int
	// Release gives back what the runner holds for it.
	Release func() error
}

// Build is the host path of the build directory.
func (s *Scratch) Build() string { return s.Dir + "/build" }

// Out is the host path of what the build sees as $ARTIFACT.
func (s *Scratch) Out() string { return s.Dir + "/out" }

// Tmp is the host path of the jail's /tmp.
func (s *Scratch) Tmp() string { return s.Dir + "/tmp" }

// VarTmp is the host path of the jail's /var/tmp.
func (s *Scratch) VarTmp() string { return s.Dir + "/vartmp" }

// Close gives back what the runner holds. It leaves the directory, and may be called twice.
func (s *Scratch) Close() error {
	if s == nil || s.Release == nil {
		return nil
	}
	release := s.Release
	s.Release = nil
	return release()
}

// SetupError reports a step of the set-up that failed, so that no build ran.
type SetupError struct {
	Phase string
	Err   error
}

// Error implements error, in one line.
func (e *SetupError) Error() string { return fmt.Sprintf("set-up phase %s: %v", e.Phase, e.Err) }

// Unwrap returns the cause.
func (e *SetupError) Unwrap() error { return e.Err }

// CommandError reports a command that could not be started in the jail. Err is the system's answer: ENOENT for a command
// that is not there, EACCES for one that is not executable.
type CommandError struct {
	Path string
	Err  error
}

// Error implements error, in one line.
func (e *CommandError) Error() string { return fmt.Sprintf("start %s in the jail: %v", e.Path, e.Err) }

// Unwrap returns the cause.
func (e *CommandError) Unwrap() error { return e.Err }

// Unsupported reports a feature that the host lacks or refuses. Fix says what to do about it and who can.
type Unsupported struct {
	Feature string
	Minimum string // the kernel version that has it, when one exists
	Fix     string
	Err     error
}

// Error implements error, in one line.
func (e *Unsupported) Error() string {
	s := "this host does not offer " + e.Feature
	if e.Minimum != "" {
		s += " (Linux " + e.Minimum + " or later)"
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *Unsupported) Unwrap() error { return e.Err }
