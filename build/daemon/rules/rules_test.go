package rules

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"hdjail/artifact"
	"hdjail/build/daemon/wire"
	"hdjail/build/lockfile"
	"hdjail/jail"
	"hdjail/policies"
)

const site = `
never: [/opt/site/secret]
daemon:
  rules:
    - {users: [mallory], deny: true}
    - {users: ["1000"], running: 2, store: 1KiB}
    - {groups: [builders, "777"]}
  host_paths: [/opt/site, /run/allowed]
  limits: {wall: 1h, memory: 1GiB, cpu: 2, files: 9}
`

var names = map[string]int{"mallory": 666, "builders": 500}

func lookup(name string) (int, error) {
	if id, ok := names[name]; ok {
		return id, nil
	}
	return 0, errors.New("unknown name " + name)
}

// newRules are those of a site whose /opt/site/link leads to /etc.
func newRules(t *testing.T, text string) *Rules {
	t.Helper()
	s, err := policies.ParseSite([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	r, err := New(s, Options{UID: 0, Prefix: "/store", System: "x86_64-linux", User: lookup, Group: lookup,
		HostIdentity: func(path string, declared bool) (string, error) {
			switch {
			case path == "/opt/site/link":
				return "link:/etc", nil
			case path == "/opt/site/open":
				return "", errors.New("user 5 could replace it")
			case declared:
				return "unread", nil
			}
			return "blake3:" + strings.Repeat("1", 64), nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestQuota(t *testing.T) {
	r := newRules(t, site)
	for caller, want := range map[string]struct {
		c       wire.Caller
		refused bool
		running int
	}{
		"root":              {wire.Caller{}, false, 0},
		"by number":         {wire.Caller{UID: 1000}, false, 2},
		"first rule counts": {wire.Caller{UID: 1000, Groups: []int{500}}, false, 2},
		"by group":          {wire.Caller{UID: 1001, GID: 500}, false, 0},
		"by other group":    {wire.Caller{UID: 1001, GID: 1, Groups: []int{4, 777}}, false, 0},
		"denied":            {wire.Caller{UID: 666, Groups: []int{500}}, true, 0},
		"unknown":           {wire.Caller{UID: 1001, GID: 1001}, true, 0},
	} {
		q, err := r.Quota(want.c)
		if (err != nil) != want.refused || q.Running != want.running {
			t.Errorf("%s: %+v, %v", caller, q, err)
		}
	}
	if _, err := New(policies.Site{Daemon: policies.Daemon{Rules: []policies.DaemonRule{{Users: []string{"nobody-knows"}}}}},
		Options{User: lookup, Group: lookup}); err == nil {
		t.Error("a name that nobody has was taken")
	}
}

func TestWithoutRules(t *testing.T) {
	r := newRules(t, "")
	if _, err := r.Quota(wire.Caller{UID: 5}); err == nil {
		t.Error("let a user in whom nobody named")
	}
	names[DefaultGroup] = 900
	defer delete(names, DefaultGroup)
	if _, err := newRules(t, "").Quota(wire.Caller{UID: 5, Groups: []int{900}}); err != nil {
		t.Error(err)
	}
}

var user = wire.Caller{UID: 1000, GID: 1000, PID: 7}

// good is a derivation that is allowed.
func good(t *testing.T) *artifact.Derivation {
	t.Helper()
	p, err := policies.Shipped("default")
	if err != nil {
		t.Fatal(err)
	}
	return &artifact.Derivation{Layout: jail.Layout, Name: "x", System: "x86_64-linux", Prefix: "/store", Interpreter: []string{"/bin/sh", "-eu"},
		Script: "true", Policy: p.Digest(policies.ModeHide, nil), Environment: map[string]string{"A": "b"}, Promises: []artifact.Promise{artifact.Exists("bin/x")},
		Sources:      []artifact.Source{{Digest: "blake3:" + strings.Repeat("0", 64), Target: "src"}},
		HostPackages: []artifact.HostPackage{{Name: "@links"}, {Name: "libc6", Architecture: "amd64", Version: "2:2.36-9+deb12u4~x"}},
		HostPaths: []artifact.HostPath{{Path: "/opt/site/gcc", Identity: "blake3:" + strings.Repeat("1", 64)},
			{Path: "/opt/site/icc", Identity: "id:2024"}}}
}

// forbidden is what no derivation of a caller may say, by what it is, with a word of the reason.
func forbidden(t *testing.T) map[string]struct {
	change func(*artifact.Derivation)
	reason string
} {
	p, err := policies.Shipped("default")
	if err != nil {
		t.Fatal(err)
	}
	digest := "blake3:" + strings.Repeat("1", 64)
	path := func(name, identity string) func(*artifact.Derivation) {
		return func(d *artifact.Derivation) { d.HostPaths = []artifact.HostPath{{Path: name, Identity: identity}} }
	}
	type forbid = struct {
		change func(*artifact.Derivation)
		reason string
	}
	return map[string]forbid{
		"foreign prefix":    {func(d *artifact.Derivation) { d.Prefix = "/home/me/store" }, "store"},
		"unclean prefix":    {func(d *artifact.Derivation) { d.Prefix = "/store/../etc" }, "prefix"},
		"other system":      {func(d *artifact.Derivation) { d.System = "vax-bsd" }, "machine"},
		"other layout":      {func(d *artifact.Derivation) { d.Layout++ }, "layout"},
		"mode off":          {func(d *artifact.Derivation) { d.Policy = p.Digest(policies.ModeOff, nil) }, "containment"},
		"mode log":          {func(d *artifact.Derivation) { d.Policy = p.Digest(policies.ModeLog, nil) }, "containment"},
		"degraded":          {func(d *artifact.Derivation) { d.Policy = p.Digest(policies.ModeHide, []string{"netns"}) }, "containment"},
		"own policy":        {func(d *artifact.Derivation) { d.Policy = digest }, "containment"},
		"path not listed":   {path("/etc", "id:1"), "does not allow"},
		"root":              {path("/", "id:1"), "does not allow"},
		"path by a detour":  {path("/opt/site/../../etc", "id:1"), "clean"},
		"relative path":     {path("opt/site", "id:1"), "clean"},
		"never, by policy":  {path("/run/allowed", "id:1"), "never"},
		"never, by site":    {path("/opt/site/secret/key", "id:1"), "never"},
		"content changed":   {path("/opt/site/gcc", "blake3:"+strings.Repeat("2", 64)), "not what"},
		"link as a tree":    {path("/opt/site/link", "id:1"), "not what"},
		"link to elsewhere": {path("/opt/site/link", "link:/etc"), "leads to"},
		"replaceable":       {path("/opt/site/open", "id:1"), "replace"},
		"no interpreter":    {func(d *artifact.Derivation) { d.Interpreter = nil }, "interpreter"},
		"relative one":      {func(d *artifact.Derivation) { d.Interpreter = []string{"sh"} }, "interpreter"},
		"variable":          {func(d *artifact.Derivation) { d.Environment = map[string]string{"A=B": ""} }, "variable"},
		"reference":         {func(d *artifact.Derivation) { d.Environment = map[string]string{"A": "${x"} }, "reference"},
		"promise outside":   {func(d *artifact.Derivation) { d.Promises = []artifact.Promise{artifact.Exists("../../etc/shadow")} }, "promise"},
		"target outside":    {func(d *artifact.Derivation) { d.Sources[0].Target = "../x" }, "target"},
		"absolute target":   {func(d *artifact.Derivation) { d.Sources[0].Target = "/etc" }, "target"},
		"source by path":    {func(d *artifact.Derivation) { d.Sources[0].Digest = "/etc/shadow" }, "digest"},
		"dependency name":   {func(d *artifact.Derivation) { d.Dependencies = []artifact.Dependency{{As: "a/b"}} }, "called"},
		"package name":      {func(d *artifact.Derivation) { d.HostPackages[1].Name = "../x" }, "package"},
	}
}

// T-auth1 and T-auth2: what a caller may not say is refused alike, in whatever request it stands.
func TestForbiddenInEveryRequest(t *testing.T) {
	r := newRules(t, site)
	fine := good(t)
	build := func(d *artifact.Derivation) (*wire.Request, Subject) {
		return &wire.Request{Version: 1, Build: &wire.Build{Steps: []wire.Step{{ID: d.ID()}}, Targets: []artifact.DerivationID{d.ID()}}},
			Subject{Derivations: []*artifact.Derivation{fine, d}}
	}
	q, about := build(fine)
	if err := errors.Join(r.Authorize(user, &wire.Request{Version: 1, Derive: fine}, Subject{}), r.Authorize(user, q, about)); err != nil {
		t.Fatal(err)
	}
	for name, f := range forbidden(t) {
		t.Run(name, func(t *testing.T) {
			d := good(t)
			f.change(d)
			q, about := build(d)
			derive, built := r.Authorize(user, &wire.Request{Version: 1, Derive: d}, Subject{}), r.Authorize(user, q, about)
			for _, err := range []error{derive, built} {
				var refused *Refused
				if !errors.As(err, &refused) || !strings.Contains(refused.Reason, f.reason) {
					t.Errorf("answer %v, want a refusal with %q", err, f.reason)
				}
			}
			if fmt.Sprint(derive) != fmt.Sprint(built) {
				t.Errorf("refused differently: %v and %v", derive, built)
			}
			if err := r.Authorize(wire.Caller{UID: 0}, &wire.Request{Version: 1, Derive: d}, Subject{}); err == nil {
				t.Error("root may")
			}
		})
	}
}

func TestAuthorize(t *testing.T) {
	r := newRules(t, site)
	d := good(t)
	step := wire.Step{ID: d.ID()}
	target := []artifact.DerivationID{d.ID()}
	builds := func(change func(*wire.Step)) *wire.Request {
		s := step
		change(&s)
		return &wire.Request{Version: 1, Build: &wire.Build{Steps: []wire.Step{s}, Targets: target}}
	}
	again := func(ids []artifact.DerivationID) *wire.Request {
		return &wire.Request{Version: 1, Build: &wire.Build{Steps: []wire.Step{step}, Targets: target, Rebuild: ids}}
	}
	other := wire.Caller{UID: 1001, GID: 500}
	for name, test := range map[string]struct {
		c    wire.Caller
		q    *wire.Request
		kind Kind // of the refusal; empty for none
	}{
		"hello":             {user, &wire.Request{Version: 1, Hello: &wire.Hello{}}, ""},
		"nothing":           {user, &wire.Request{Version: 1}, Malformed},
		"two things":        {user, &wire.Request{Version: 1, Hello: &wire.Hello{}, Jobs: &wire.Jobs{}}, Malformed},
		"other version":     {user, &wire.Request{Version: 2, Hello: &wire.Hello{}}, Malformed},
		"stranger":          {wire.Caller{UID: 1002}, &wire.Request{Version: 1, Hello: &wire.Hello{}}, Caller},
		"stranger's build":  {wire.Caller{UID: 1002}, builds(func(*wire.Step) {}), Caller},
		"own job":           {user, &wire.Request{Version: 1, Attach: &wire.Attach{}}, ""},
		"other's job":       {other, &wire.Request{Version: 1, Attach: &wire.Attach{}}, Caller},
		"job, by root":      {wire.Caller{}, &wire.Request{Version: 1, Attach: &wire.Attach{}}, ""},
		"pin":               {user, &wire.Request{Version: 1, Pin: &wire.Pin{Packages: []string{"libstdc++6:amd64", "pkgconfig(x)"}}}, ""},
		"pin nothing":       {user, &wire.Request{Version: 1, Pin: &wire.Pin{}}, Malformed},
		"pin a text":        {user, &wire.Request{Version: 1, Pin: &wire.Pin{Packages: []string{"a b"}}}, Malformed},
		"owner":             {user, &wire.Request{Version: 1, Owner: &wire.Owner{Path: "/bin/sh"}}, ""},
		"owner by a detour": {user, &wire.Request{Version: 1, Owner: &wire.Owner{Path: "/bin/../sh"}}, Malformed},
		"commit":            {user, &wire.Request{Version: 1, Put: &wire.Put{Digest: "git:" + strings.Repeat("0", 40)}}, Policy},
		"no digest":         {user, &wire.Request{Version: 1, Put: &wire.Put{Digest: "/etc/shadow"}}, Malformed},
		"mode fail":         {user, builds(func(s *wire.Step) { s.Mode = policies.ModeFail }), ""},
		"mode off":          {user, builds(func(s *wire.Step) { s.Mode = policies.ModeOff }), Policy},
		"mode log":          {user, builds(func(s *wire.Step) { s.Mode = policies.ModeLog }), Policy},
		"negative limit":    {user, builds(func(s *wire.Step) { s.Limits = &wire.Limits{Wall: -1} }), Malformed},
		"clone":             {user, builds(func(s *wire.Step) { s.URLs = []string{"https://x/y"} }), Policy},
		"file":              {user, builds(func(s *wire.Step) { s.URLs = []string{"file:///etc/shadow"} }), Policy},
		"matcher":           {user, builds(func(s *wire.Step) { s.Match = "clean|best(f)" }), ""},
		"no matcher":        {user, builds(func(s *wire.Step) { s.Match = "nonsense" }), Malformed},
		"script as matcher": {user, builds(func(s *wire.Step) { s.Match = "script(/etc/shadow)" }), Policy},
		"locked":            {user, builds(func(s *wire.Step) { s.Locked = make([]lockfile.Realization, 1) }), ""},
		"matcher and lock":  {user, builds(func(s *wire.Step) { s.Match, s.Locked = "latest", make([]lockfile.Realization, 1) }), Malformed},
		"again":             {user, again(target), ""},
		"again, no step":    {user, again(make([]artifact.DerivationID, 1)), Malformed},
		"twice one":         {user, &wire.Request{Version: 1, Build: &wire.Build{Steps: []wire.Step{step, step}, Targets: target}}, Malformed},
		"no target":         {user, &wire.Request{Version: 1, Build: &wire.Build{Steps: []wire.Step{step}}}, Malformed},
		"negative jobs":     {user, &wire.Request{Version: 1, Build: &wire.Build{Steps: []wire.Step{step}, Targets: target, Jobs: -1}}, Malformed},
	} {
		err := r.Authorize(test.c, test.q, Subject{Owner: user.UID})
		var refused *Refused
		if errors.As(err, &refused); test.kind == "" && err != nil || test.kind != "" && (refused == nil || refused.Kind != test.kind) {
			t.Errorf("%s: %v, want a refusal of kind %q", name, err, test.kind)
		}
	}
}

// A site may let the daemon clone, and then from where nobody listens in.
func TestFetch(t *testing.T) {
	r := newRules(t, "daemon: {rules: [{users: [\"*\"]}], fetch: true}")
	d := good(t)
	d.HostPaths = nil
	for url, allowed := range map[string]bool{"https://host/x.git": true, "http://host/x.git": false, "file:///etc": false, "--upload-pack=x": false,
		"ssh://host/x": false} {
		q := &wire.Request{Version: 1, Build: &wire.Build{Steps: []wire.Step{{ID: d.ID(), URLs: []string{url}}}, Targets: []artifact.DerivationID{d.ID()}}}
		if err := r.Authorize(user, q, Subject{Derivations: []*artifact.Derivation{d}}); (err == nil) != allowed {
			t.Errorf("%s: %v", url, err)
		}
	}
}

// Callers can only ask for less than the site allows, and than is left of their quota.
func TestLimits(t *testing.T) {
	r := newRules(t, site)
	got := r.Limits(jail.Limits{Wall: 2 * time.Hour, Memory: 1 << 20, Output: 5000, Log: 10}, 100, -1)
	want := jail.Limits{Wall: time.Hour, Memory: 1 << 20, CPU: 2, Output: 100, Files: 9, Log: 10}
	if got != want {
		t.Errorf("limits %+v, want %+v", got, want)
	}
	if got := r.Limits(jail.Limits{}, 0, 0); got.Output != 1 || got.Log != 1 { // 0 would be none
		t.Errorf("with nothing left: %+v", got)
	}
}
