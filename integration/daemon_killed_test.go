package integration

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"hdjail/build/daemon/sitelog"
)

// groupsOf lists the cgroups of jails that a process made, wherever they are.
func groupsOf(t *testing.T, pid int) (list []string) {
	t.Helper()
	err := filepath.WalkDir("/sys/fs/cgroup", func(name string, _ os.DirEntry, err error) error {
		if strings.HasPrefix(filepath.Base(name), "hdjail-") && strings.Contains(name, fmt.Sprintf(".%d.", pid)) {
			list = append(list, name)
		}
		if errors.Is(err, fs.ErrNotExist) { // another's, gone meanwhile
			return nil
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// A daemon that is killed loses nothing that was complete, and leaves no process, mount or cgroup; the next one goes on.
func TestDaemonKilled(t *testing.T) {
	builds := 12
	if os.Getenv("HDJAIL_SOAK") != "" {
		builds = 400
	}
	d := serve(t)
	template := d.template("hdjail: 1\nname: template\nhost: {packages: [coreutils]}\nscript: echo x > $ARTIFACT/x\n")
	canary := d.path("policy.yaml")
	before := observe(t, canary)
	const sleeper = "sleep 98769"
	for i := range builds {
		derivation := template
		derivation.Name = fmt.Sprintf("b%d", i)
		if i == builds/2 {
			derivation.Script = sleeper
		}
		if err := d.submit(derivation); err != nil {
			t.Fatal(err)
		}
	}
	awaitFor(t, "the build in the middle", time.Minute, func() bool { return find(sleeper) != "" })
	if os.Geteuid() == 0 && len(groupsOf(t, d.command.Process.Pid)) == 0 {
		t.Log("no cgroup can be made here, so none can be left")
	}
	if err := d.command.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	d.end()
	complete := d.realizations()
	if complete < 2 {
		t.Errorf("only %d builds were complete", complete)
	}
	await(t, "the jail's end", func() bool { return find(sleeper) == "" })
	killed := d.command.Process.Pid
	d.start()
	if left := groupsOf(t, killed); len(left) > 0 {
		t.Errorf("cgroups are left: %v", left)
	}
	before.processes = append(before.processes, strconv.Itoa(d.command.Process.Pid))
	before.unchanged(t, canary)
	if n := d.realizations(); n != complete {
		t.Errorf("%d realizations, and %d were complete", n, complete)
	}
	if _, err := sitelog.Verify(d.path("log/site.log"), ""); err != nil {
		t.Error(err)
	}
	for _, dir := range []string{"store/tmp", "store/locks"} {
		left, err := os.ReadDir(d.path(dir))
		if err != nil || dir == "store/tmp" && len(left) > 0 {
			t.Errorf("left in %s: %v, %v", dir, left, err)
		}
	}
	for i := range builds { // nothing is in the way of what was not complete
		derivation := template
		derivation.Name = fmt.Sprintf("b%d", i)
		if err := d.submit(derivation); err != nil {
			t.Fatal(err)
		}
	}
	awaitFor(t, "the last build", 10*time.Minute, func() bool { return d.metric("hdjail_jobs") == 0 })
	if n := d.realizations(); n != builds+1 {
		t.Errorf("%d realizations of %d builds", n, builds+1)
	}
}
