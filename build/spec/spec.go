package spec

import (
	"time"

	"hdjail/artifact"
	"hdjail/artifact/match"
	"hdjail/jail"
	"hdjail/policies"
	"hdjail/profile/links"
)

// Format is the version of the format, the value of the key `hdjail`.
const Format = 1

// Spec is one build as a person describes it. Parse makes it; everything in it is checked, and absent keys have their
// defaults. Texts with references are as they were written; Expand makes a Spec without. It is read-only afterwards, so
// goroutines may share it.
type Spec struct {
	// File is the name that Parse was given, for messages.
	File   string `json:"-"`
	Format int    `json:"hdjail"`
	// Name and Version match [A-Za-z0-9_+-][A-Za-z0-9_+.-]*; Version may be empty. A number is kept as it is typed.
	Name         string       `json:"name"`
	Version      string       `json:"version,omitempty"`
	Sources      []Source     `json:"sources,omitempty"`
	Dependencies []Dependency `json:"dependencies,omitempty"`
	Host         Host         `json:"host,omitzero"`
	// Environment is what the script gets besides the variables of every jail. Numbers and booleans are kept as typed. Values
	// may hold references, ${...}; $$ is a dollar sign.
	Environment map[string]string `json:"environment,omitempty"`
	// Interpreter is the command that Script is given to, as the path of a file. Its first word is an absolute path. Words may
	// hold references.
	Interpreter []string `json:"interpreter,omitempty"`
	Script      string   `json:"script"`
	// Promises are what every result has. No two have one name.
	Promises []artifact.Promise `json:"promises,omitempty"`
	// Policy is the name of a shipped policy.
	Policy string        `json:"policy,omitempty"`
	Mode   policies.Mode `json:"mode,omitempty"`
	// Network is "none".
	Network string `json:"network,omitempty"`
	Limits  Limits `json:"limits,omitzero"`
	// Match picks among the realizations of this spec, like latest, clean|some(3) or best(score.txt); nil for only.
	Match match.Matcher `json:"match,omitempty"`
	// Links say how the artifact is linked into profiles; nil for all of it.
	Links []links.Rule `json:"links,omitempty"`

	text   []byte
	places []place
	// root is the whole text when it has references, else nil.
	root *node
}

// Source is one input. Exactly one of SHA256, BLAKE3 (64 lower-case hexadecimal digits), Git (40) and Path is set.
type Source struct {
	SHA256 string `json:"sha256,omitempty"`
	BLAKE3 string `json:"blake3,omitempty"`
	Git    string `json:"git,omitempty"`
	// Path is a local file or tree, relative to the directory of the spec.
	Path string `json:"path,omitempty"`
	// URLs are hints where to find it, tried in order. They never enter an identity.
	URLs []string `json:"urls,omitempty"`
	// Target is where it goes below the build directory: clean, relative, empty for the directory itself. Without Unpack
	// it is the name of the file.
	Target string `json:"target,omitempty"`
	// Unpack is false for `unpack: none`.
	Unpack bool `json:"unpack,omitempty"`
}

// Digest is the identity of the source as a Derivation states it, "sha256:…", "blake3:…" or "git:…"; empty for a path.
func (s Source) Digest() string {
	switch {
	case s.SHA256 != "":
		return "sha256:" + s.SHA256
	case s.BLAKE3 != "":
		return "blake3:" + s.BLAKE3
	case s.Git != "":
		return "git:" + s.Git
	}
	return ""
}

// Dependency is another build that this one uses. Exactly one of Spec and ID is set.
type Dependency struct {
	// Spec is the path of its spec, relative to the directory of this one.
	Spec string `json:"spec,omitempty"`
	// ID is the text of a derivation ID that the store has.
	ID string `json:"id,omitempty"`
	// As is the NAME of $NAME_DIR and $NAME_ID; empty for one made from the dependency's name.
	As string `json:"as,omitempty"`
	// Match is the matcher that this dependant wants, like latest or best(score.txt, top 10); nil for none.
	Match match.Matcher `json:"match,omitempty"`
	// Many mounts every selected realization, below /deps/NAME.
	Many bool `json:"many,omitempty"`
}

// Host is what a build sees of the machine.
type Host struct {
	// Packages are names of distribution packages; their dependencies come along.
	Packages []string   `json:"packages,omitempty"`
	Paths    []HostPath `json:"paths,omitempty"`
}

// HostPath is a file or directory outside the packages, visible at its own path. Path is absolute and clean.
type HostPath struct {
	Path string `json:"path"`
	// ID is a declared identity; empty for the digest of the content.
	ID string `json:"id,omitempty"`
}

// Limits bound a build; 0 leaves a limit at its default. They never enter an identity.
type Limits struct {
	Memory  Size          `json:"memory,omitempty"`
	Pids    int64         `json:"pids,omitempty"`
	CPU     float64       `json:"cpu,omitempty"`
	Wall    time.Duration `json:"wall,omitempty"`
	Silence time.Duration `json:"silence,omitempty"`
	Output  Size          `json:"output,omitempty"`
	Files   int64         `json:"files,omitempty"`
	Log     Size          `json:"log,omitempty"`
}

// Size is a number of bytes, written as a number or with a unit: 512, 64KiB, 2GiB, 10GB.
type Size int64

// Over returns defaults with every limit that l states in its place.
func (l Limits) Over(defaults jail.Limits) jail.Limits {
	merged := defaults
	set(&merged.Memory, int64(l.Memory))
	set(&merged.Pids, l.Pids)
	set(&merged.CPU, l.CPU)
	set(&merged.Wall, l.Wall)
	set(&merged.Silence, l.Silence)
	set(&merged.Output, int64(l.Output))
	set(&merged.Files, l.Files)
	set(&merged.Log, int64(l.Log))
	return merged
}

func set[T comparable](to *T, value T) {
	var unset T
	if value != unset {
		*to = value
	}
}

// Position is a place in a text; both count from 1, Column in characters.
type Position struct{ Line, Column int }

// place is where one item of a key stands. Index is -1 for the key's value as a whole.
type place struct {
	key   string
	index int
	at    Position
}

// ErrorAt puts err at the given item of a key ("dependencies", 2; "host.packages", 0) or, with index -1, at its value;
// where the key is absent, at the beginning of the spec.
func (s *Spec) ErrorAt(key string, index int, err error, help string) *Error {
	at := Position{1, 1}
	for _, p := range s.places {
		if p.key == key && (p.index == index || p.index == -1) {
			at = p.at
		}
	}
	return newError(s.File, s.text, at, err.Error(), help).because(err)
}
