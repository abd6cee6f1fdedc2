package integration

import (
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// numbers of system calls, which are the same on every architecture from 424 on.
const (
	callMountSetattr     = "442"
	callOpenat2          = "437"
	callCloseRange       = "436"
	callLandlockCreate   = "444"
	degradedUser         = "65534"
	degradedRange        = 65536
	degradedProbe        = `{ grep -c . /proc/net/dev; cat </dev/null; } >/dev/null 2>&1; echo ran`
	degradedExpectedWork = "ran\n"
)

// degraded are hosts that lack something: what is done to make them so, in a user namespace with its own limits, and what
// hdjail must answer. Where it runs, the audit must name the missing fence; where not, the message names the setting and the fix.
var degraded = map[string]struct {
	setup   string
	without []string
	args    []string
	exit    int
	stderr  string
	missing string
	tier    string
	// incomplete tells that the record cannot be whole.
	incomplete bool
	// attacks are answers to attempts of testdata/escape/attack.c.
	attacks map[string]string
}{
	"nothing is missing": {tier: "full"},
	"no network namespaces": {setup: "echo 0 >/proc/sys/user/max_net_namespaces", exit: 125,
		stderr: "sysctl -w user.max_net_namespaces=15000.*--allow-degraded=netns"},
	"no network namespaces, allowed": {setup: "echo 0 >/proc/sys/user/max_net_namespaces", args: []string{"--allow-degraded=netns"},
		stderr: "this host makes no network namespaces: jails share its network", tier: "no-netns",
		attacks: map[string]string{"inet-public": "EAFNOSUPPORT", "inet-metadata": "EAFNOSUPPORT", "inet-loopback": "EAFNOSUPPORT", "route": "EAFNOSUPPORT",
			"packet": "EAFNOSUPPORT", "abstract": "EPERM", "dbus": "ENOENT", "kill-host": "ESRCH"}},
	"network namespaces, allowed to lack": {args: []string{"--allow-degraded=netns"}, tier: "full"},
	"an unknown feature":                  {args: []string{"--allow-degraded=everything"}, exit: 2, stderr: `"everything" names nothing`},
	"no user namespaces":                  {setup: "echo 0 >/proc/sys/user/max_user_namespaces", exit: 125, stderr: "sysctl -w user.max_user_namespaces=15000"},
	"no pid namespaces":                   {setup: "echo 0 >/proc/sys/user/max_pid_namespaces", exit: 125, stderr: "sysctl -w user.max_pid_namespaces=15000"},
	"no mount namespaces":                 {setup: "echo 0 >/proc/sys/user/max_mnt_namespaces", exit: 125, stderr: "sysctl -w user.max_mnt_namespaces=15000"},
	"no Landlock":                         {without: []string{callLandlockCreate}, missing: "Landlock", tier: "full"},
	"no mount_setattr":                    {without: []string{callMountSetattr}, args: []string{"--host", "coreutils,dash,grep"}, tier: "full"},
	"no openat2":                          {without: []string{callOpenat2}, tier: "full", incomplete: true},
	"no close_range":                      {without: []string{callCloseRange}, tier: "full"},
}

// TestDegraded takes features away from a host, one after the other. Only root can make the hosts.
func TestDegraded(t *testing.T) {
	if os.Geteuid() != 0 {
		return // the rows are root's
	}
	tools := openDir(t, "root")
	without := filepath.Join(tools, "without")
	if out, err := exec.Command("gcc", "-O1", "-o", without, "testdata/degraded_without.c").CombinedOutput(); err != nil {
		t.Fatalf("gcc: %s", out)
	}
	attack := filepath.Join(tools, "attack")
	if out, err := exec.Command("gcc", "-static", "-O1", "-o", attack, "testdata/escape/attack.c").CombinedOutput(); err != nil {
		t.Fatalf("gcc: %s", out)
	}
	listener, err := net.Listen("unix", "@hdjail-escape-test")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	for name, row := range degraded {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			dir := openDir(t, "root")
			if err := os.Chown(dir, 65534, 65534); err != nil {
				t.Fatal(err)
			}
			audit := filepath.Join(dir, "audit.json")
			args := append([]string{hdjail, "--store", filepath.Join(dir, "store"), "run", "--audit", audit}, row.args...)
			if row.attacks == nil {
				args = append(args, "--", "sh", "-c", degradedProbe)
			} else {
				args = append(args, "--ro", tools, "--", attack, "/none", "/usr/bin/env", "hdjail-escape-test")
			}
			if row.without != nil {
				args = append(append(append([]string{without}, row.without...), "--"), args...)
			}
			command := degradedCommand(row.setup, dir, args)
			var stdout, stderr strings.Builder
			command.Stdout, command.Stderr = &stdout, &stderr
			_ = command.Run() // the status is compared below
			if got := command.ProcessState.ExitCode(); got != row.exit {
				t.Fatalf("exit %d, want %d: %s", got, row.exit, stderr.String())
			}
			if !matches(t, row.stderr, stderr.String()) {
				t.Errorf("messages:\n%s\nwant %s", stderr.String(), row.stderr)
			}
			if row.tier != "" {
				checkDegraded(t, audit, row.tier, row.missing, !row.incomplete)
			}
			got := answers([]byte(stdout.String()))
			for attempt, want := range row.attacks {
				if !allowed(want, got[attempt]) {
					t.Errorf("%s got %q, want %s", attempt, got[attempt], want)
				}
			}
			if row.exit == 0 && row.attacks == nil && stdout.String() != degradedExpectedWork {
				t.Errorf("the command printed %q", stdout.String())
			}
		})
	}
}

// degradedCommand runs args as an ordinary user in a user namespace whose limits setup has changed.
func degradedCommand(setup, home string, args []string) *exec.Cmd {
	if setup == "" {
		setup = ":"
	}
	const drop = `; exec setpriv --reuid ` + degradedUser + ` --regid ` + degradedUser + ` --clear-groups "$@"`
	command := exec.Command("sh", append([]string{"-c", setup + drop, "sh"}, args...)...)
	command.Env = []string{"PATH=/usr/bin:/bin:/usr/sbin", "HOME=" + home}
	identity := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: degradedRange}}
	command.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER, UidMappings: identity, GidMappings: identity,
		GidMappingsEnableSetgroups: true}
	return command
}

// checkDegraded compares what the audit says was enforced.
func checkDegraded(t *testing.T, file, tier, missing string, complete bool) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var audit struct {
		Complete     bool
		Degradations []string
		Enforced     struct {
			Tier    string
			Missing []string
		}
	}
	if err := json.Unmarshal(text, &audit); err != nil {
		t.Fatal(err)
	}
	if audit.Complete != complete || audit.Enforced.Tier != tier {
		t.Errorf("the audit says %+v, want tier %q", audit, tier)
	}
	if (tier != "full") != (len(audit.Degradations) > 0) {
		t.Errorf("tier %s and degradations %q", tier, audit.Degradations)
	}
	if joined := strings.Join(audit.Enforced.Missing, "\n"); missing == "" && strings.Contains(joined, "Landlock") || !strings.Contains(joined, missing) {
		t.Errorf("missing fences are %q, want %q", joined, missing)
	}
}

func matches(t *testing.T, pattern, text string) bool {
	t.Helper()
	found, err := regexp.MatchString("(?s)"+pattern, text)
	if err != nil {
		t.Fatal(err)
	}
	return found
}
