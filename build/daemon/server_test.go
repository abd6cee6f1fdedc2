package daemon

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"hdjail/artifact"
	"hdjail/build"
	"hdjail/build/daemon/client"
	"hdjail/build/daemon/wire"
	"hdjail/jail"
	"hdjail/jail/jailtest"
)

const open = `daemon: {rules: [{users: ["*"]}]}`

func TestBuild(t *testing.T) {
	s := newSite(t, open, nil)
	c := s.dial()
	if c.Info != (wire.DaemonInfo{Store: s.store.Root(), Prefix: s.store.Prefix(), System: "x"}) {
		t.Errorf("the daemon is %+v", c.Info)
	}
	lib := s.derive(c, "lib")
	tool := s.derive(c, "tool", lib)
	var seen []string
	var job wire.JobInfo
	done, err := c.Build(t.Context(), request(lib, tool), client.Follower{Job: func(j wire.JobInfo) { job = j }, Event: func(e build.Event) {
		if e.Event == "build.done" || e.Event == "build.log" {
			seen = append(seen, e.Name+" "+e.Status+e.Text)
		}
	}})
	if err != nil || done.Problem != nil || len(done.Results) != 1 || len(done.Results[0].Realizations) != 1 {
		t.Fatalf("done %+v, %v", done, err)
	}
	if want := []string{"lib a line\n", "lib built", "tool a line\n", "tool built"}; !slices.Equal(sorted(seen), want) {
		t.Errorf("events %q", seen)
	}
	if _, err := s.store.Realization(done.Results[0].Realizations[0]); err != nil {
		t.Error(err)
	}
	jobs, err := s.dial().Jobs(t.Context())
	if err != nil || len(jobs) != 1 || jobs[0].ID != job.ID || jobs[0].State != "done" || jobs[0].Name != "tool" {
		t.Errorf("jobs %+v, %v", jobs, err)
	}
	var events []string
	for _, e := range s.entries() {
		events = append(events, e.Event)
		if e.Event == "built" && (e.UID != os.Getuid() || e.PID != os.Getpid() || e.Bytes != 7 || e.LogBytes != 7 || e.Job != job.ID || e.Realization == "") {
			t.Errorf("entry %+v", e)
		}
	}
	if want := []string{"start", "derivation", "derivation", "request", "built", "built"}; !slices.Equal(events, want) {
		t.Errorf("the log has %q", events)
	}
}

func sorted(list []string) []string {
	list = slices.Clone(list)
	slices.Sort(list)
	return list
}

// Whatever a request says beyond what there is to say is refused, logged with who said it, and ends the connection.
func TestRefusalsAreLogged(t *testing.T) {
	s := newSite(t, open, nil)
	id := s.derive(s.dial(), "x")
	for name, body := range map[string]string{
		"uid":        `{"v":1,"hello":{"uid":0}}`,
		"hooks":      `{"v":1,"hello":{},"hooks":["/bin/sh"]}`,
		"store":      `{"v":1,"jobs":{"store":"/home/other"}}`,
		"mode off":   `{"v":1,"build":{"steps":[{"id":"` + id.String() + `","mode":"off"}],"targets":["` + id.String() + `"]}}`,
		"build uid":  `{"v":1,"build":{"steps":[{"id":"` + id.String() + `","uid":0}],"targets":[]}}`,
		"unknown":    `{"v":1,"build":{"steps":[{"id":"` + strings.Repeat("a", 32) + `"}],"targets":["` + strings.Repeat("a", 32) + `"]}}`,
		"a path":     `{"v":1,"put":{"digest":"tree:` + strings.Repeat("0", 64) + `","path":"/etc"}}`,
		"no file":    `{"v":1,"put":{"digest":"tree:` + strings.Repeat("0", 64) + `"}}`,
		"version":    `{"v":2,"hello":{}}`,
		"no job":     `{"v":1,"attach":{"job":"x"}}`,
		"no prefix":  `{"v":1,"derive":{"layout":1,"name":"x","system":"x","prefix":"/elsewhere","interpreter":["/bin/sh"],"script":"","policy":""}}`,
		"no message": `hello`,
	} {
		t.Run(name, func(t *testing.T) {
			before := len(s.entries())
			var r wire.Reply
			if err := json.Unmarshal(s.send(body), &r); err != nil || r.Error == nil || r.Error.Code == "error" {
				t.Errorf("reply %+v, %v", r, err)
			}
			added := s.entries()[before:]
			if len(added) != 1 || added[0].Decision != "refused" || added[0].UID != os.Getuid() || added[0].PID != os.Getpid() || added[0].Reason == "" {
				t.Errorf("the log has %+v", added)
			}
		})
	}
	if runs := s.runner.Runs(); len(runs) > 0 {
		t.Errorf("%d builds ran", len(runs))
	}
}

// Nobody fills the log by being refused.
func TestNoisy(t *testing.T) {
	var n noisy
	now := time.Unix(0, 0)
	written := 0
	for range 3 * refusalsAnHour {
		if n.reason(1, now, "x") != "" {
			written++
		}
	}
	if written != refusalsAnHour || n.reason(2, now, "x") != "x" || n.reason(1, now.Add(time.Hour), "x") != "x" {
		t.Errorf("%d were written", written)
	}
}

// send sends a body as a frame, and returns that of the reply, after which the connection has to end.
func (s *site) send(body string) []byte {
	s.t.Helper()
	socket, err := net.Dial("unix", s.socket)
	if err != nil {
		s.t.Fatal(err)
	}
	defer socket.Close()
	if _, err := socket.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)); err != nil {
		s.t.Fatal(err)
	}
	reply, err := io.ReadAll(socket)
	if err != nil || len(reply) < 4 {
		s.t.Fatalf("reply %q, %v", reply, err)
	}
	return reply[4:]
}

// A job ends with its client; a detached one goes on, and can be followed later.
func TestDetach(t *testing.T) {
	started, goOn, second := make(chan struct{}), make(chan struct{}), make(chan struct{})
	s := newSite(t, open, map[string]jailtest.Script{
		"killed":   {Started: started, Wait: make(chan struct{})},
		"detached": {Started: second, Wait: goOn, Files: map[string]string{"f": "x"}, Log: "hello\n"}})
	c := s.dial()
	killed, detached := s.derive(c, "killed"), s.derive(c, "detached")
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-started
		cancel()
	}()
	if done, err := c.Build(ctx, request(killed), quiet()); !errors.Is(err, context.Canceled) {
		t.Errorf("done %+v, %v", done, err)
	}
	s.await("failed")

	var id string
	q := request(detached)
	q.Detach = true
	c = s.dial()
	if done, err := c.Build(t.Context(), q, client.Follower{Job: func(j wire.JobInfo) { id = j.ID }}); done != nil || err != nil {
		t.Fatalf("done %+v, %v", done, err)
	}
	c.Close()
	<-second
	var log string
	follower := client.Follower{Job: func(wire.JobInfo) {}, Event: func(e build.Event) {
		if e.Event == "build.log" {
			log += e.Text
			close(goOn)
		}
	}}
	done, err := s.dial().Attach(t.Context(), id[:5], follower)
	if err != nil || done.Problem != nil || len(done.Results) != 1 || log != "hello\n" {
		t.Errorf("done %+v, %v, log %q", done, err, log)
	}
	if done, err := s.dial().Attach(t.Context(), id, quiet()); err != nil || len(done.Results) != 1 {
		t.Errorf("when it had ended: %+v, %v", done, err)
	}
}

// await waits until no job is under way, and the last one is in a state.
func (s *site) await(state string) {
	s.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		jobs, err := s.dial().Jobs(s.t.Context())
		if err != nil {
			s.t.Fatal(err)
		}
		if n := len(jobs); n > 0 && jobs[n-1].State == state {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("jobs %+v", jobs)
		}
	}
}

// A user whose quota is used up is refused until something of his is gone; too many jobs are refused at once.
func TestQuotas(t *testing.T) {
	started, goOn := make(chan struct{}), make(chan struct{})
	s := newSite(t, `daemon: {rules: [{users: ["*"], store: 1500B, queued: 2}]}`, map[string]jailtest.Script{
		"large": {Files: map[string]string{"f": strings.Repeat("x", 3000)}},
		"slow":  {Started: started, Wait: goOn, Files: map[string]string{"f": "x"}}})
	c := s.dial()
	large, slow, other := s.derive(c, "large"), s.derive(c, "slow"), s.derive(c, "other")
	done, err := c.Build(t.Context(), request(large), quiet())
	if err != nil || done.Problem == nil || !strings.Contains(done.Problem.Text, "limit of output") { // of what is left
		t.Fatalf("done %+v, %v", done, err)
	}
	detach := func(id artifact.DerivationID) error {
		q := request(id)
		q.Detach = true
		_, err := s.dial().Build(t.Context(), q, quiet())
		return err
	}
	if err := detach(slow); err != nil {
		t.Fatal(err)
	}
	<-started
	if err := detach(other); err != nil {
		t.Fatal(err)
	}
	var refused *client.Error
	if err := detach(other); !errors.As(err, &refused) || refused.Code != "busy" {
		t.Errorf("a third job: %v", err)
	}
	close(goOn)
	s.await("done")

	c = s.dial()
	big := filepath.Join(s.dir, "big")
	if err := os.WriteFile(big, make([]byte, 1500), 0o600); err != nil {
		t.Fatal(err)
	}
	digest, err := c.AddLocal(t.Context(), big)
	if err != nil {
		t.Fatal(err)
	}
	if done, err := c.Build(t.Context(), request(other), quiet()); !errors.As(err, &refused) || refused.Code != "quota" {
		t.Errorf("over the quota: %+v, %v", done, err)
	}
	algorithm, hex, _ := strings.Cut(digest, ":")
	if err := os.Remove(filepath.Join(s.store.SourcesDir(), algorithm, hex)); err != nil {
		t.Fatal(err)
	}
	s.clock.pass(recountPause)
	if done, err := s.dial().Build(t.Context(), request(other), quiet()); err != nil || done.Problem != nil {
		t.Errorf("with room again: %+v, %v", done, err)
	}
}

// A job that waits keeps what it is about from being collected, and a build that is wanted again is run again.
func TestLeases(t *testing.T) {
	started, goOn := make(chan struct{}), make(chan struct{})
	s := newSite(t, open, map[string]jailtest.Script{"slow": {Started: started, Wait: goOn}})
	c := s.dial()
	slow, other := s.derive(c, "slow"), s.derive(c, "other")
	for _, id := range []artifact.DerivationID{slow, other} {
		q := request(id)
		q.Detach = true
		if _, err := s.dial().Build(t.Context(), q, quiet()); err != nil {
			t.Fatal(err)
		}
		if id == slow {
			<-started
		}
	}
	kept := func(id artifact.DerivationID) bool {
		uses, err := s.store.Leases()
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range uses {
			if slices.Contains(u.Derivations, id) {
				return true
			}
		}
		return false
	}
	for deadline := time.Now().Add(10 * time.Second); !kept(other); {
		if time.Now().After(deadline) {
			t.Fatal("nothing keeps what waits")
		}
	}
	close(goOn)
	s.await("done")
	if kept(slow) || kept(other) {
		t.Error("a lease is left")
	}
	q := request(other)
	q.Rebuild = []artifact.DerivationID{other}
	done, err := s.dial().Build(t.Context(), q, quiet())
	if err != nil || done.Problem != nil || len(done.Results) != 1 || done.Results[0].Cached || len(done.Results[0].Built) != 1 {
		t.Errorf("built again: %+v, %v", done, err)
	}
}

// What the caller could open is what the daemon reads: only files and pipes, and the content has to have its digest.
func TestPut(t *testing.T) {
	s := newSite(t, open, nil)
	ctx, digest := t.Context(), "blake3:"+strings.Repeat("0", 64)
	for _, name := range []string{"/proc/self/status", "/sys/kernel/uevent_seqnum", "/dev/null", "/"} {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		var refused *client.Error
		if err := s.dial().Put(ctx, digest, f); !errors.As(err, &refused) || refused.Code != "malformed" {
			t.Errorf("%s: %v", name, err)
		}
		f.Close()
	}
	dir := filepath.Join(s.dir, "tree")
	file := filepath.Join(dir, "f")
	if err := errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(file, []byte("x"), 0o600)); err != nil {
		t.Fatal(err)
	}
	c := s.dial()
	for range 2 {
		for _, path := range []string{file, dir} {
			if digest, err := c.AddLocal(ctx, path); err != nil {
				t.Errorf("%s: %s, %v", path, digest, err)
			}
		}
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := c.Put(ctx, digest, f); err == nil || !strings.Contains(err.Error(), "digest") {
		t.Errorf("under another digest: %v", err)
	}
	if missing, err := c.Missing(ctx, []string{digest}); err != nil || len(missing) != 1 {
		t.Errorf("missing %v, %v", missing, err)
	}
	write, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer write.Close()
	if err := c.Put(ctx, digest, write); err == nil || !strings.Contains(err.Error(), "cannot be read") {
		t.Errorf("a descriptor that only writes: %v", err)
	}
}

// The daemon ends what it runs before it ends, and says so.
func TestStop(t *testing.T) {
	started := make(chan struct{})
	s := newSite(t, open, map[string]jailtest.Script{"slow": {Started: started, Wait: make(chan struct{})},
		"panics": {Do: func(jail.Config) error { return errors.New("broken") }}})
	c := s.dial()
	slow, broken := s.derive(c, "slow"), s.derive(c, "panics")
	if done, err := s.dial().Build(t.Context(), request(broken), quiet()); err != nil || done.Problem == nil {
		t.Errorf("broken: %+v, %v", done, err)
	}
	go func() {
		<-started
		s.stop()
	}()
	done, err := c.Build(t.Context(), request(slow), quiet())
	if err != nil || done.Problem == nil || done.Problem.Text != ErrStopped.Error() {
		t.Errorf("done %+v, %v", done, err)
	}
	s.stop()
	if _, err := os.Lstat(s.socket); err == nil {
		t.Error("the socket is left")
	}
}
