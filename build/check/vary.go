package check

import (
	"fmt"
	"strings"
	"time"

	"hdjail/build"
	"hdjail/jail"
	"hdjail/policies"
)

// Caller is what a run is started with that has no effect on any build, unless something leaks into the jail.
type Caller struct {
	// Env is the whole environment, each NAME=VALUE, and Dir the working directory.
	Env []string `json:"-"`
	Dir string   `json:"-"`
	// Umask and Hostname are set by the run's process itself. An empty Hostname leaves the host's; another one takes
	// privilege, and a UTS namespace of the process's own.
	Umask    int    `json:"umask"`
	Hostname string `json:"hostname,omitempty"`
}

// Machine is what a check can vary with.
type Machine struct {
	// CPUs are the processors that we may use, sorted.
	CPUs []int
	// Root tells that we may change the host name.
	Root bool
	// Env is our environment.
	Env []string
}

// Variation is one thing that a run has different, or that was to be different and is not.
type Variation struct {
	// Where is "caller" or "jail".
	Where  string `json:"where"`
	What   string `json:"what"`
	Varied bool   `json:"varied"`
	// Detail says how, or why not; it may be empty.
	Detail string `json:"detail,omitempty"`
}

// sourceOrder is what the variation of the order in which directories list the sources is called.
const sourceOrder = "order of the sources"

// passed are variables that hdjail itself needs, or that say where it keeps things.
var passed = []string{"PATH=", "HDJAIL_", "XDG_RUNTIME_DIR="}

// callers are told apart by these; the first run of a check gets the first.
var callers = []struct {
	zone, locale, home, dir string
	umask                   int
}{
	{"Asia/Kathmandu", "tr_TR.UTF-8", "/nonexistent/check", "/", 0o077},
	{"Pacific/Chatham", "de_DE.ISO-8859-1", "/var/empty", "/usr", 0o002},
	{"America/St_Johns", "ja_JP.EUC-JP", "/", "/proc", 0o027},
}

// vary plans run number i, from 0. In the modes that show the host, the home directory stays: it says which secrets to hide.
func (m Machine) vary(i int, mode policies.Mode) (Caller, build.Rerun) {
	like := callers[i%len(callers)]
	c := Caller{Dir: like.dir, Umask: like.umask}
	set := map[string]string{"TZ": like.zone, "LANG": like.locale, "LC_ALL": like.locale, "LANGUAGE": like.locale[:2],
		"USER": "check", "LOGNAME": "check", "SHELL": "/bin/false", "EDITOR": "false", "TERM": "check", "CC": "false", "CFLAGS": "-Dcheck",
		"MAKEFLAGS": "-n", "SOURCE_DATE_EPOCH": "1", "HDCHECK": fmt.Sprint(i)}
	if mode.Contains() {
		set["HOME"] = like.home
	}
	for name, value := range set {
		c.Env = append(c.Env, name+"="+value)
	}
	for _, variable := range m.Env {
		for _, prefix := range passed {
			if strings.HasPrefix(variable, prefix) {
				c.Env = append(c.Env, variable)
			}
		}
		if !mode.Contains() && strings.HasPrefix(variable, "HOME=") {
			c.Env = append(c.Env, variable)
		}
	}
	name := fmt.Sprintf("check-%d", i+1)
	if m.Root {
		c.Hostname = "caller-" + name
	}
	r := build.Rerun{Reorder: byte(1 + i%255), Vary: jail.Vary{Hostname: name, SkipPIDs: 211 + 307*i%3001}}
	if n := len(m.CPUs); n > 1 {
		r.Vary.CPUs = m.CPUs[:n-1-i%(n-1)]
	}
	return c, r
}

// variations lists what a run had different from the first one, which ended at that time.
func (m Machine) variations(req Request, o Outcome, first, start time.Time) []Variation {
	caller := func(what string, varied bool, detail string) Variation {
		return Variation{"caller", what, varied, detail}
	}
	inJail := func(what string, varied bool, detail string) Variation {
		return Variation{"jail", what, varied, detail}
	}
	list := []Variation{caller("environment", true, ""), caller("home directory", req.Mode.Contains(), ""), caller("time zone", true, ""),
		caller("locale", true, ""), caller("working directory", true, req.Caller.Dir), caller("umask", true, fmt.Sprintf("%04o", req.Caller.Umask)),
		caller("host name", req.Caller.Hostname != "", req.Caller.Hostname)}
	for i, v := range list {
		switch {
		case v.Varied:
		case v.What == "host name":
			list[i].Detail = "only root can change it"
		default:
			list[i].Detail = "in this mode it says what is hidden"
		}
	}
	v := req.Rerun.Vary
	processors := inJail("processors", len(v.CPUs) > 0, fmt.Sprintf("%d of %d", len(v.CPUs), len(m.CPUs)))
	if !processors.Varied {
		processors.Detail = "there is only one"
	}
	order := inJail(sourceOrder, o.Reordered, "")
	switch {
	case o.Reordered:
	case !req.Sources:
		order.Detail = "there are none"
	case req.Rerun.Scratch != "":
		order.Varied, order.Detail = true, "another file system, "+req.Rerun.Scratch
	default:
		order.Detail = "this file system orders them by their names; --scratch DIR builds on another one"
	}
	return append(list, inJail("start", true, "at "+start.UTC().Format(time.RFC3339)+", "+start.Sub(first).Round(time.Second).String()+" after the first run"),
		inJail("clock", false, "it is the host's; no kernel can show a build another date"),
		inJail("host name", true, v.Hostname), processors, inJail("process numbers", true, fmt.Sprintf("%d higher", v.SkipPIDs)), order,
		inJail("locale", false, "a jail takes none from outside"))
}

// untilAnotherSecond is how long to wait so that a run begins in another second than the one that now is past began or ended
// in: clocks are mostly read in seconds.
func untilAnotherSecond(now, past time.Time) time.Duration {
	if now.Unix() != past.Unix() {
		return 0
	}
	return now.Truncate(time.Second).Add(time.Second).Sub(now)
}
