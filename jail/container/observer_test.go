package container

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"hdjail/jail"
	"hdjail/jail/observe"
	"hdjail/policies"
	"hdjail/policies/audit"
)

// lackingHost has nothing.
type lackingHost struct{}

func (lackingHost) Ask(string, bool) (policies.HostAnswer, *audit.HostFile) {
	return policies.HostLacks, nil
}

// TestObserverLeavesNothing runs recorded jails, one of which does not start, and looks for what is left open. TestMain looks
// for goroutines.
func TestObserverLeavesNothing(t *testing.T) {
	for _, o := range []Observer{ObserverNotification, ObserverPtrace} {
		r := newRunner(t)
		r.options.Observer = o
		c := hostConfig(t, r, "")
		run := func(args ...string) (jail.Result, audit.Header, error) {
			c.Args = args
			c.Log = observe.NewLog(observe.Options{Mode: c.Mode, Table: c.Mounts, Host: lackingHost{}}, time.Now())
			result, err := r.Run(context.Background(), c)
			h, headed := c.Log.Header(audit.Header{})
			if err := errors.Join(headed, c.Log.Release()); err != nil {
				t.Error(err)
			}
			return result, h, err
		}
		if _, _, err := run("/bin/true"); err != nil {
			t.Fatal(err)
		}
		before := openFiles(t)
		result, h, err := run("/bin/sh", "-c", "/bin/true; test -e /nowhere; exit 3")
		if err != nil || result.Exit != 3 || !h.Complete || h.Counters.Events == 0 || h.Observers[0].Name != string(o) {
			t.Errorf("%s: %+v, %v, complete %v %v", o, result, err, h.Complete, h.IncompleteReasons)
		}
		var refused *jail.CommandError
		if _, _, err := run("/nowhere"); !errors.As(err, &refused) {
			t.Errorf("%s: a command that is not there gives %v", o, err)
		}
		if after := openFiles(t); after != before {
			t.Errorf("%s: %d open descriptors, %d before", o, after, before)
		}
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

func BenchmarkJailRecorded(b *testing.B) {
	for _, o := range []Observer{ObserverNotification, ObserverPtrace} {
		b.Run(string(o), func(b *testing.B) {
			r := newRunner(b)
			r.options.Observer = o
			c := hostConfig(b, r, "")
			c.Args = []string{"/bin/true"}
			for b.Loop() {
				c.Log = observe.NewLog(observe.Options{Mode: c.Mode, Table: c.Mounts, Host: lackingHost{}}, time.Now())
				if result, err := r.Run(context.Background(), c); err != nil || result.Exit != 0 {
					b.Fatal(result, err)
				}
				c.Log.Release()
			}
		})
	}
}
