package check

import (
	"slices"
	"strings"
	"testing"
	"time"

	"hdjail/policies"
)

func TestVary(t *testing.T) {
	m := Machine{CPUs: []int{0, 1, 5, 9}, Root: true, Env: []string{"PATH=/bin", "HOME=/home/me", "TZ=UTC", "AWS_SECRET=x", "HDJAIL_OBSERVER=ptrace"}}
	processors := []int{3, 2, 1, 3}
	hosts := map[string]bool{}
	for i, want := range processors {
		c, r := m.vary(i, policies.ModeHide)
		if len(r.Vary.CPUs) != want || r.Vary.SkipPIDs == 0 || r.Reorder == 0 || hosts[r.Vary.Hostname] || c.Hostname == r.Vary.Hostname {
			t.Errorf("run %d: %+v, %+v", i, c, r)
		}
		hosts[r.Vary.Hostname] = true
		if !slices.Contains(c.Env, "PATH=/bin") || !slices.Contains(c.Env, "HDJAIL_OBSERVER=ptrace") {
			t.Errorf("run %d lacks what hdjail needs: %q", i, c.Env)
		}
		for _, variable := range c.Env {
			if strings.HasPrefix(variable, "AWS") || variable == "HOME=/home/me" || variable == "TZ=UTC" {
				t.Errorf("run %d has the caller's %s", i, variable)
			}
		}
	}
	c, r := Machine{CPUs: []int{3}, Env: []string{"HOME=/home/me"}}.vary(0, policies.ModeLog)
	if len(r.Vary.CPUs) != 0 || c.Hostname != "" || !slices.Contains(c.Env, "HOME=/home/me") {
		t.Errorf("an ordinary user with one processor in mode log: %+v, %+v", c, r)
	}
}

// said is "where what: detail" of what was varied, or was not.
func said(list []Variation, varied bool) string {
	var lines []string
	for _, v := range list {
		if v.Varied == varied {
			lines = append(lines, v.Where+" "+v.What+": "+v.Detail)
		}
	}
	return strings.Join(lines, "\n")
}

func TestVariations(t *testing.T) {
	first := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		name    string
		m       Machine
		mode    policies.Mode
		change  func(*Request, *Outcome)
		varied  []string
		because []string // of what was not
	}{
		{name: "all", m: Machine{CPUs: []int{0, 1}, Root: true}, mode: policies.ModeHide, change: func(r *Request, o *Outcome) { r.Sources, o.Reordered = true, true },
			varied:  []string{"caller host name: caller-check-1", "caller home directory", "jail processors: 1 of 2", "jail order of the sources", "jail start: at 2026-01-01T00:01:30Z, 1m30s after"},
			because: []string{"jail clock: ", "jail locale: "}},
		{name: "little", m: Machine{CPUs: []int{0}}, mode: policies.ModeLog, change: func(*Request, *Outcome) {}, varied: []string{"caller umask: 0077"},
			because: []string{"caller host name: only root", "caller home directory: in this mode", "jail processors: there is only one", "jail order of the sources: there are none"}},
		{name: "ext4", m: Machine{}, mode: policies.ModeHide, change: func(r *Request, _ *Outcome) { r.Sources = true },
			because: []string{"jail order of the sources: this file system"}},
		{name: "elsewhere", m: Machine{}, mode: policies.ModeHide, change: func(r *Request, _ *Outcome) { r.Sources, r.Rerun.Scratch = true, "/dev/shm" },
			varied: []string{"jail order of the sources: another file system, /dev/shm"}},
	} {
		var o Outcome
		req := Request{Mode: test.mode}
		req.Caller, req.Rerun = test.m.vary(0, test.mode)
		test.change(&req, &o)
		list := test.m.variations(req, o, first, first.Add(90*time.Second))
		for varied, wants := range map[bool][]string{true: test.varied, false: test.because} {
			for _, want := range wants {
				if got := said(list, varied); !strings.Contains(got, want) {
					t.Errorf("%s: varied %v: %s\nlacks %s", test.name, varied, got, want)
				}
			}
		}
	}
}

func TestUntilAnotherSecond(t *testing.T) {
	past := time.Date(2026, 1, 1, 0, 0, 5, 100e6, time.UTC)
	for after, want := range map[time.Duration]time.Duration{0: 900 * time.Millisecond, 300 * time.Millisecond: 600 * time.Millisecond,
		time.Second: 0, time.Hour: 0, -time.Hour: 0} {
		if got := untilAnotherSecond(past.Add(after), past); got != want {
			t.Errorf("%v after: %v, want %v", after, got, want)
		}
	}
}
