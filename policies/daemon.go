package policies

import (
	"fmt"
	"path"
	"regexp"
	"strconv"
	"time"

	"github.com/bmatcuk/doublestar/v4"
)

// Daemon is what a site says of its daemon: who may build, with what, and how much. Callers can only ask for less.
type Daemon struct {
	// Rules are tried in order, and the first that names the caller counts. Who is named by none is refused, but for root.
	Rules []DaemonRule `yaml:"rules"`
	// HostPaths are paths and patterns that specs may whitelist under host.paths, with what lies below them; none when empty.
	HostPaths []string `yaml:"host_paths"`
	// Running is how many builds run at once, 0 for as many as processors; Queued how many jobs wait, 0 for 10,000.
	Running int `yaml:"running"`
	Queued  int `yaml:"queued"`
	// Fetch lets the daemon clone what git: sources name. Files are always fetched by the client.
	Fetch bool `yaml:"fetch"`
	// UIDs is the range of ids that builds run as.
	UIDs UIDRange `yaml:"uids"`
	// Limits are those that no spec can raise.
	Limits DaemonLimits `yaml:"limits"`
}

// DaemonRule is what holds for some callers. Names may be numbers; "*" is everybody.
type DaemonRule struct {
	Users  []string `yaml:"users"`
	Groups []string `yaml:"groups"`
	Deny   bool     `yaml:"deny"`
	Quota  `yaml:",inline"`
}

// Quota bounds what one user has. 0 is no limit but the daemon's own.
type Quota struct {
	// Running counts builds, Queued jobs that wait.
	Running int `yaml:"running"`
	Queued  int `yaml:"queued"`
	// Store counts bytes of results and sources, Logs those of logs, of what is still in the store.
	Store ByteSize `yaml:"store"`
	Logs  ByteSize `yaml:"logs"`
}

// UIDRange is a range of ids that belong to nobody; the zero range is the default one.
type UIDRange struct {
	First int `yaml:"first"`
	Count int `yaml:"count"`
}

// DaemonLimits are upper bounds of the limits of a build; 0 bounds nothing.
type DaemonLimits struct {
	Memory  ByteSize      `yaml:"memory"`
	Pids    int64         `yaml:"pids"`
	CPU     float64       `yaml:"cpu"`
	Wall    time.Duration `yaml:"wall"`
	Silence time.Duration `yaml:"silence"`
	Output  ByteSize      `yaml:"output"`
	Files   int64         `yaml:"files"`
	Log     ByteSize      `yaml:"log"`
}

// ByteSize is a number of bytes, written as a number or with a unit: 512, 64KiB, 10GiB.
type ByteSize int64

var (
	byteSize  = regexp.MustCompile(`^([0-9]{1,15})(B|KiB|MiB|GiB|TiB)?$`)
	byteUnits = map[string]int64{"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
)

// UnmarshalYAML reads the text form.
func (b *ByteSize) UnmarshalYAML(unmarshal func(any) error) error {
	var text string
	if err := unmarshal(&text); err != nil {
		return err
	}
	m := byteSize.FindStringSubmatch(text)
	if m == nil {
		return fmt.Errorf("%q is no size: write 512, 64KiB or 10GiB", text)
	}
	n, _ := strconv.ParseInt(m[1], 10, 64) // at most 15 digits
	unit := byteUnits[m[2]]
	if n > (1<<63-1)/unit {
		return fmt.Errorf("%q is too large a size", text)
	}
	*b = ByteSize(n * unit)
	return nil
}

// check reports what the daemon could not obey.
func (d *Daemon) check() error {
	for i, r := range d.Rules {
		switch {
		case len(r.Users)+len(r.Groups) == 0:
			return fmt.Errorf("daemon: rule %d names nobody: write users: [\"*\"] for everybody", i+1)
		case r.Running < 0 || r.Queued < 0:
			return fmt.Errorf("daemon: rule %d has a negative limit", i+1)
		}
	}
	for _, p := range d.HostPaths {
		if !path.IsAbs(p) || path.Clean(p) != p || p == "/" || !doublestar.ValidatePattern(p) {
			return fmt.Errorf("daemon: host path %q is no absolute, clean path or pattern below /", p)
		}
	}
	l := d.Limits
	switch {
	case d.Running < 0 || d.Queued < 0 || l.Pids < 0 || l.CPU < 0 || l.Wall < 0 || l.Silence < 0 || l.Files < 0:
		return fmt.Errorf("daemon: a limit is negative")
	case d.UIDs != UIDRange{} && (d.UIDs.First < 1000 || d.UIDs.Count < 1 || d.UIDs.First > 1<<31-1-d.UIDs.Count):
		return fmt.Errorf("daemon: uids want a first id from 1000 on and a count, below 2^31 together")
	}
	return nil
}

// AllowsHostPath reports whether specs may whitelist a path, absolute and clean.
func (d *Daemon) AllowsHostPath(name string) bool {
	for _, p := range d.HostPaths {
		if (PathRule{Pattern: p}).matches(OpRead, name) {
			return true
		}
	}
	return false
}
