package integration

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"hdjail/artifact"
	"hdjail/artifact/store"
	"hdjail/build/daemon/client"
	"hdjail/build/daemon/sitelog"
	"hdjail/build/daemon/wire"
)

// served is a daemon under test, with a store of its own. It is root's when the tests are.
type served struct {
	t       *testing.T
	dir     string
	command *exec.Cmd
	end     func() error
}

// serve starts a daemon; everybody may use it.
func serve(t *testing.T) *served {
	t.Helper()
	d := &served{t: t, dir: openDir(t, who[0])}
	if err := os.WriteFile(filepath.Join(d.dir, "policy.yaml"), []byte("daemon: {rules: [{users: [\"*\"]}]}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	d.start()
	t.Cleanup(func() {
		if err := d.stop(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		exec.Command("chmod", "-R", "u+w", d.dir).Run() // what is in a store is read-only
	})
	return d
}

func (d *served) path(name string) string { return filepath.Join(d.dir, name) }

func (d *served) start() {
	d.t.Helper()
	d.command = exec.Command(hdjail, "serve", "--store", d.path("store"), "--socket", d.path("run/s"), "--site-policy", d.path("policy.yaml"),
		"--site-log", d.path("log/site.log"), "--metrics-socket", d.path("run/m"))
	said, err := d.command.StderrPipe()
	if err != nil {
		d.t.Fatal(err)
	}
	if err := d.command.Start(); err != nil {
		d.t.Fatal(err)
	}
	lines := bufio.NewReader(said)
	if line, err := lines.ReadString('\n'); err != nil || !strings.HasPrefix(line, "hdjail serves ") {
		d.t.Fatalf("the daemon says %q, %v", line, err)
	}
	var rest bytes.Buffer
	var group errgroup.Group
	group.Go(func() error { _, err := io.Copy(&rest, lines); return err })
	d.end = sync.OnceValue(func() error {
		read := group.Wait()
		err := d.command.Wait()
		if rest.Len() > 0 {
			d.t.Logf("the daemon said %s", rest.Bytes())
		}
		return errors.Join(read, err)
	})
}

// stop ends the daemon, unless it has ended.
func (d *served) stop(signal syscall.Signal) error {
	if d.command.ProcessState != nil {
		return nil
	}
	return errors.Join(d.command.Process.Signal(signal), d.end())
}

// asUser runs hdjail as the ordinary user, or as who tests, with the daemon.
func (d *served) asUser(args ...string) *exec.Cmd {
	d.t.Setenv("HDJAIL_SOCKET", d.path("run/s"))
	c := as(d.t, "user", append([]string{hdjail}, args...)...)
	c.Dir = d.dir
	return c
}

// template is the derivation of a spec, for others that differ in name and script.
func (d *served) template(text string) artifact.Derivation {
	d.t.Helper()
	if err := os.WriteFile(d.path("template.yaml"), []byte(text), 0o644); err != nil {
		d.t.Fatal(err)
	}
	build := exec.Command(hdjail, "build", d.path("template.yaml"))
	build.Env = append(os.Environ(), "HDJAIL_SOCKET="+d.path("run/s"))
	out, err := build.Output()
	if err != nil {
		d.t.Fatalf("hdjail build: %v", err)
	}
	s, err := store.Open(d.path("store"), store.Options{ReadOnly: true})
	if err != nil {
		d.t.Fatal(err)
	}
	defer s.Close()
	ref, err := s.ResolveID(strings.TrimSpace(string(out)))
	if err != nil {
		d.t.Fatal(err)
	}
	found, err := s.Derivation(ref.Derivation)
	if err != nil {
		d.t.Fatal(err)
	}
	return *found
}

const trivial = "hdjail: 1\nname: trivial\nscript: echo x > $ARTIFACT/x\n"

// submit leaves a build to the daemon. Its limit of memory gives the jail a cgroup where one can be made.
func (d *served) submit(derivation artifact.Derivation) error {
	c, err := client.Dial(d.t.Context(), d.path("run/s"))
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Derive(d.t.Context(), &derivation); err != nil {
		return err
	}
	id := derivation.ID()
	_, err = c.Build(d.t.Context(), &wire.Build{Steps: []wire.Step{{ID: id, Limits: &wire.Limits{Memory: 256 << 20}}}, Targets: []artifact.DerivationID{id}, Detach: true},
		client.Follower{Job: func(wire.JobInfo) {}})
	return err
}

// realizations counts what is in the store.
func (d *served) realizations() int {
	d.t.Helper()
	entries, err := os.ReadDir(d.path("store/realizations"))
	if err != nil {
		d.t.Fatal(err)
	}
	return len(entries)
}

// metric reads one value from the socket of the metrics, 0 when it is not there.
func (d *served) metric(name string) float64 {
	d.t.Helper()
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", d.path("run/m"))
	}}
	response, err := (&http.Client{Transport: transport}).Get("http://daemon/metrics")
	if err != nil {
		d.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + ` (\S+)$`).FindSubmatch(text)
	if m == nil {
		return 0
	}
	value, err := strconv.ParseFloat(string(m[1]), 64)
	if err != nil {
		d.t.Fatal(err)
	}
	return value
}

// awaitFor is await for what takes as long as it takes.
func awaitFor(t *testing.T, what string, patience time.Duration, done func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("no sign of %s", what)
		}
	}
}

// An ordinary user builds through root's daemon: his files get in though root's may not, the result is his to read, and
// the build ran as nobody he or root is.
func TestDaemonBuildsForUser(t *testing.T) {
	d := serve(t)
	secret := d.path("secret")
	dir := openDir(t, "user")
	write := as(t, "user", "sh", "-c", "umask 077 && mkdir "+dir+"/src && echo mine > "+dir+"/src/words")
	if out, err := write.CombinedOutput(); err != nil {
		t.Fatal(string(out))
	}
	spec := "hdjail: 1\nname: mine\nhost: {packages: [coreutils]}\nsources: [{path: " + dir + "/src}]\nscript: |\n  cp words $ARTIFACT\n  cat /proc/self/uid_map > $ARTIFACT/map\n"
	if err := errors.Join(os.WriteFile(d.path("mine.yaml"), []byte(spec), 0o644), os.WriteFile(secret, []byte("s"), 0o600),
		os.WriteFile(d.path("theirs.yaml"), []byte(strings.Replace(spec, dir+"/src", secret, 1)), 0o644)); err != nil {
		t.Fatal(err)
	}
	build := d.asUser("build", "-o", filepath.Join(dir, "result"), "mine.yaml")
	said, err := build.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	out, err := as(t, "user", "cat", filepath.Join(dir, "result/words")).Output()
	if err != nil || string(out) != "mine\n" {
		t.Errorf("the result says %q, %v", out, err)
	}
	lock := filepath.Join(dir, "mine.lock")
	for _, args := range [][]string{{"lock", "-o", lock, "mine.yaml"}, {"build", "--locked", "--lock-file", lock, "mine.yaml"}} {
		if out, err := d.asUser(args...).CombinedOutput(); err != nil || strings.Contains(string(out), "0 with their results") {
			t.Errorf("hdjail %s: %v: %s", args[0], err, out)
		}
	}
	if os.Geteuid() != 0 {
		return // the caller and the daemon are one
	}
	if !strings.Contains(string(said), "keeps nothing from being collected") {
		t.Errorf("a link into root's store: %s", said)
	}
	if out, err := d.asUser("build", "theirs.yaml").CombinedOutput(); err == nil || !strings.Contains(string(out), "permission denied") {
		t.Errorf("a file of root's as a source: %v: %s", err, out)
	}
	for _, mode := range []string{"off", "log"} {
		refused := d.asUser("build", "--mode", mode, "mine.yaml")
		if out, err := refused.CombinedOutput(); refused.ProcessState.ExitCode() != 4 || !strings.Contains(string(out), "error[HJ0083]") {
			t.Errorf("mode %s: %v: %s", mode, err, out)
		}
	}
	found, err := os.Stat(filepath.Join(dir, "result/words"))
	if err != nil || found.Sys().(*syscall.Stat_t).Uid != 0 || found.Mode().Perm() != 0o444 {
		t.Errorf("the result is %v, %v", found, err)
	}
	d.logged()
	var jobs []wire.JobInfo
	out, err = d.asUser("jobs", "--json").Output()
	if err := errors.Join(err, json.Unmarshal(out, &jobs)); err != nil || len(jobs) != 1 || jobs[0].State != "done" {
		t.Errorf("jobs %+v, %v", jobs, err)
	}
	stranger := exec.Command("setpriv", "--reuid", "65500", "--regid", "65500", "--clear-groups", hdjail, "jobs", "--json")
	if out, err := stranger.Output(); err != nil || strings.TrimSpace(string(out)) != "[]" {
		t.Errorf("jobs of another user: %s, %v", out, err)
	}
}

// logged checks that the site's log says for whom the one build was, and who was refused.
func (d *served) logged() {
	t := d.t
	t.Helper()
	uid, err := as(t, "user", "id", "-u").Output()
	if err != nil {
		t.Fatal(err)
	}
	var built, refused []sitelog.Entry
	if _, err := sitelog.Read(d.path("log/site.log"), func(e sitelog.Entry) {
		if e.Event == "built" {
			built = append(built, e)
		}
		if e.Decision == "refused" && fmt.Sprintln(e.UID) == string(uid) && e.PID > 0 && strings.HasPrefix(e.Reason, "policy: ") {
			refused = append(refused, e)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if len(built) != 1 || fmt.Sprintln(built[0].UID) != string(uid) || built[0].Name != "mine" {
		t.Errorf("built for %s: %+v", uid, built)
	}
	if len(refused) != 2 {
		t.Errorf("refused %s: %+v", uid, refused)
	}
}

// Many clients at once lose nothing, in little memory. HDJAIL_SOAK=1 takes 200 clients and 2,000 builds.
func TestDaemonLoad(t *testing.T) {
	clients, each := 10, 5
	if os.Getenv("HDJAIL_SOAK") != "" {
		clients, each = 200, 10
	}
	d := serve(t)
	template := d.template(trivial)
	had := d.realizations()
	began := time.Now()
	var group errgroup.Group
	for i := range clients {
		group.Go(func() error {
			for j := range each {
				derivation := template
				derivation.Name = fmt.Sprintf("load-%d-%d", i, j)
				derivation.Script = fmt.Sprintf("echo %d > $ARTIFACT/x\n", i*each+j)
				if err := d.submit(derivation); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	queued := time.Since(began)
	awaitFor(t, "the last build", 10*time.Minute, func() bool { return d.metric("hdjail_jobs") == 0 })
	if n := d.realizations() - had; n != clients*each {
		t.Errorf("%d realizations of %d builds", n, clients*each)
	}
	if n := d.metric(`hdjail_builds_total{status="built"}`); int(n) != had+clients*each {
		t.Errorf("%v builds were counted", n)
	}
	if found, err := sitelog.Verify(d.path("log/site.log"), ""); err != nil {
		t.Errorf("log %+v: %v", found, err)
	}
	peak := d.peakMemory()
	if peak > 100<<10 {
		t.Errorf("the daemon took %d KiB", peak)
	}
	t.Logf("%d clients, %d builds: queued in %v, done in %v, at most %d KiB", clients, clients*each, queued, time.Since(began), peak)
}

// peakMemory is the most that the daemon ever had, in KiB.
func (d *served) peakMemory() int {
	d.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.command.Process.Pid))
	if err != nil {
		d.t.Fatal(err)
	}
	m := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(text)
	if m == nil {
		d.t.Fatal("no VmHWM")
	}
	peak, err := strconv.Atoi(string(m[1]))
	if err != nil {
		d.t.Fatal(err)
	}
	return peak
}
