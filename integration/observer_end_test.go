package integration

import (
	"bytes"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// TestObserverKilled: a supervisor that dies takes the build with it, and no record poses as a whole one.
func TestObserverKilled(t *testing.T) {
	for _, user := range who {
		const looper = "while :; do test -e /no/such/file-98767; done"
		dir := openDir(t, user)
		audit := filepath.Join(dir, "audit.json")
		command := as(t, user, hdjail, "--store", filepath.Join(dir, "store"), "run", "--mode", "log", "--audit", audit, "--", "sh", "-c",
			"echo ready; "+looper)
		if command == nil {
			continue
		}
		killWhenReady(t, user, command, isReady)
		await(t, "the build's end", func() bool { return find("sh -c echo ready; "+looper) == "" })
		text, err := os.ReadFile(audit)
		var r record
		if err == nil {
			err = json.Unmarshal(text, &r)
		}
		if err != nil || r.Complete || len(r.Reasons) == 0 {
			t.Errorf("as %s: the audit of a killed run is %q, %v; want one that says it is incomplete", user, text, err)
		}
	}
}

// TestObserveTwo: two jails at once, and no access in the wrong audit.
func TestObserveTwo(t *testing.T) {
	for _, user := range who {
		dir := openDir(t, user)
		audits := [2]string{filepath.Join(dir, "audit0.json"), filepath.Join(dir, "audit1.json")}
		var both sync.WaitGroup
		for i, audit := range audits {
			mine := []string{"/no/such/file-of-0-", "/no/such/file-of-1-"}[i]
			command := as(t, user, hdjail, "--store", filepath.Join(dir, "store"), "run", "--mode", "log", "--audit", audit, "--", "sh", "-c",
				"i=0; while [ $i -lt 2000 ]; do test -e "+mine+"$i; i=$((i+1)); done")
			if command == nil {
				return
			}
			both.Go(func() {
				if out, err := command.CombinedOutput(); err != nil {
					t.Errorf("as %s: %v: %s", user, err, out)
				}
			})
		}
		both.Wait()
		for i, audit := range audits {
			r := readRecord(t, audit)
			for j, want := range map[int]int64{i: 2000, 1 - i: 0} {
				path := []string{"/no/such/file-of-0-*", "/no/such/file-of-1-*"}[j]
				if got := r.count(expected{op: "probe", path: path, errno: "ENOENT", verdict: "absent"}); got != want {
					t.Errorf("as %s: audit %d has %s %d times, want %d", user, i, path, got, want)
				}
			}
			if !r.Complete {
				t.Errorf("as %s: audit %d is not complete: %q", user, i, r.Reasons)
			}
		}
	}
}

// TestObserveHost has things outside the whitelist that no distribution has, which only root can make: a socket, a name that
// moves the cursor, a link to each, a dynamic loader, a directory that is there in part.
func TestObserveHost(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can make files outside of temporary directories and homes")
	}
	host, err := os.MkdirTemp("/opt", "hdjail-observe-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(host) })
	tools := attackers(t)
	prepareHost(t, host)
	for _, s := range settings() {
		t.Run(s.mode+"/"+s.user, func(t *testing.T) { observeHost(t, s, tools, host) })
	}
}

func observeHost(t *testing.T, s setting, tools, host string) {
	t.Helper()
	dir := openDir(t, s.user)
	work, audit := filepath.Join(dir, "D"), filepath.Join(dir, "audit.json")
	if out, err := as(t, s.user, "mkdir", work).CombinedOutput(); err != nil {
		t.Fatalf("%s", out)
	}
	args := []string{hdjail, "--store", filepath.Join(dir, "store"), "run", "--mode", s.mode, "--rw", work, "--ro", tools,
		"--ro", filepath.Join(host, "part", "shown"), "--audit", audit}
	if s.mode == "hide" {
		args = append(args, "--host", "coreutils")
	}
	out, err := as(t, s.user, append(args, "--", filepath.Join(tools, "resolve"), "host", work, host)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if bytes.ContainsRune(out, '\x1b') {
		t.Errorf("escape codes reach the terminal: %q", out)
	}
	r := readRecord(t, audit)
	list := expected{op: "list", path: host + "/part", verdict: "leaked", least: 2}
	if s.mode == "hide" { // what is hidden is not listed, and the directory is an ancestor of what is shown
		list.verdict = "allowed"
	}
	for _, want := range []expected{list, read(host + "/\x1b[31mred\n"), read("D/red"), {op: "connect", path: host + "/socket", verdict: outside},
		{op: "exec", path: "D/script", errno: "*", verdict: "*"}, {op: "exec", path: host + "/program", verdict: outside, least: 2},
		own("read", host+"/part/shown/f"), read(host + "/part/f")} {
		want = want.in(s.mode, work)
		if got := r.count(want); got < max(want.least, 1) {
			t.Errorf("%s: found %d times, want %d: %s", want, got, max(want.least, 1), r.like(want))
		}
	}
}

func prepareHost(t *testing.T, host string) {
	t.Helper()
	listener, err := net.Listen("unix", filepath.Join(host, "socket"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	script := `cd "$1" && mkdir -p part/shown && touch part/f part/shown/f "$2" && cp /bin/true program && chmod -R a+rX . && chmod a+w socket`
	if out, err := exec.Command("sh", "-ec", script, "sh", host, "\x1b[31mred\n").CombinedOutput(); err != nil {
		t.Fatalf("%s", out)
	}
}

// TestBuildKilled: of a build whose hdjail is killed the next start leaves a failed run, with its log and an audit that says
// it is not whole.
func TestBuildKilled(t *testing.T) {
	for _, user := range who {
		dir := openDir(t, user)
		spec := filepath.Join(dir, "killed.yaml")
		text := "hdjail: 1\nname: killed\nhost: {packages: [coreutils, dash]}\nscript: |\n  echo printed\n  sleep 98765\n"
		if err := os.WriteFile(spec, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		base := []string{hdjail, "--store", filepath.Join(dir, "store")}
		command := as(t, user, append(base, "build", "--events", "fd:1", spec)...)
		if command == nil {
			continue
		}
		killWhenReady(t, user, command, func(line string) bool { return strings.Contains(line, `"text":"printed`) })
		await(t, "the build's end", func() bool { return find("sleep 98765") == "" })
		if out, err := as(t, user, append(base, "run", "-q", "--", "true")...).CombinedOutput(); err != nil {
			t.Fatalf("as %s, the next start: %v: %s", user, err, out)
		}
		for _, c := range []struct{ verb, want string }{{"log", "printed"}, {"audit", "hdjail was killed"}} {
			out, err := as(t, user, append(base, c.verb, "--failed")...).CombinedOutput()
			if err != nil || !strings.Contains(string(out), c.want) {
				t.Errorf("as %s: %s --failed: %v: %s; want %q", user, c.verb, err, out, c.want)
			}
		}
	}
}
