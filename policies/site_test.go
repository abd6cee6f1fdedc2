package policies

import (
	"strings"
	"testing"
	"time"
)

const fullSite = `
noise: [/var/cache/x]
never: [~/.secret]
daemon:
  rules:
    - {users: [mallory, "1007"], deny: true}
    - {groups: [students], running: 1, queued: 20, store: 10GiB, logs: 100MiB}
    - {users: ["*"]}
  host_paths: [/opt/site, "/cvmfs/*/stable"]
  running: 8
  queued: 500
  fetch: true
  uids: {first: 1900000000, count: 64}
  limits: {memory: 8GiB, pids: 1024, cpu: 2.5, wall: 2h, silence: 10m, output: 1TiB, log: 64MiB}
`

func TestSite(t *testing.T) {
	s, err := ParseSite([]byte(fullSite))
	if err != nil {
		t.Fatal(err)
	}
	d := s.Daemon
	if len(d.Rules) != 3 || !d.Rules[0].Deny || d.Rules[1].Store != 10<<30 || d.Rules[1].Running != 1 || d.Limits.Wall != 2*time.Hour ||
		d.Limits.CPU != 2.5 || !d.Fetch || d.UIDs.Count != 64 {
		t.Errorf("read %+v", d)
	}
	for path, want := range map[string]bool{"/opt/site": true, "/opt/site/gcc": true, "/opt/sites": false, "/opt": false, "/": false,
		"/cvmfs/a/stable": true, "/cvmfs/a/b/stable": false, "/etc/shadow": false} {
		if d.AllowsHostPath(path) != want {
			t.Errorf("%s: allowed is %v", path, !want)
		}
	}
	for text, want := range map[string]string{
		"daemon: {rules: [{running: 1}]}":                            "names nobody",
		"daemon: {rules: [{users: [a], running: -1}]}":               "negative",
		"daemon: {rules: [{users: [a], hooks: x}]}":                  "hooks",
		"daemon: {rules: [{users: [a], store: 10 GiB}]}":             "is no size",
		"daemon: {rules: [{users: [a], store: 999999999999999TiB}]}": "too large",
		"daemon: {host_paths: [/]}":                                  "host path",
		"daemon: {host_paths: [/opt/../etc]}":                        "host path",
		"daemon: {host_paths: [opt]}":                                "host path",
		"daemon: {uids: {first: 0, count: 10}}":                      "uids",
		"daemon: {uids: {first: 2147483000, count: 1000}}":           "uids",
		"daemon: {listen: 0.0.0.0:80}":                               "listen",
		"daemon: {limits: {wall: -1s}}":                              "negative",
		"hooks: [x]":                                                 "hooks",
		"noise: [relative]":                                          "absolute",
		"#" + strings.Repeat("x", maxSite):                           "larger",
		"daemon: {running: 1}\ndaemon: {running: 2}":                 "daemon",
		"daemon: {rules: [{users: [a]}]}\n---\ndaemon: {rules: []}":  "second document",
	} {
		if _, err := ParseSite([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: error %v, want one with %q", text, err, want)
		}
	}
}

// FuzzSite: any text gives a site whose rules can be asked, or an error.
func FuzzSite(f *testing.F) {
	for _, seed := range []string{fullSite, "", "daemon:", "daemon: {rules: [{users: [\"*\"], store: 1TiB}]}", "noise: [\"/a/[\"]", "a: &a [*a]",
		"daemon: {limits: {cpu: .inf, wall: 9999999h}}", "never: [~/x]\n---\nnever: []"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := ParseSite(text)
		if err != nil {
			return
		}
		if s.Daemon.AllowsHostPath("/") {
			t.Error("the root is allowed")
		}
		for _, r := range s.Daemon.Rules {
			if len(r.Users)+len(r.Groups) == 0 || r.Running < 0 || r.Store < 0 || r.Logs < 0 {
				t.Errorf("rule %+v", r)
			}
		}
		MatchPath(s.Rules("/home/x"), OpRead, "/etc/passwd")
	})
}
