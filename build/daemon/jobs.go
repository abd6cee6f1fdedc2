package daemon

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"hdjail/artifact/store"
	"hdjail/build/daemon/rules"
	"hdjail/build/daemon/wire"
)

// job is a build request from when it is taken until nobody remembers it.
type job struct {
	caller  wire.Caller
	request *wire.Build
	// use is what collections have to leave while the job waits and runs.
	use    store.Use
	cancel context.CancelCauseFunc
	feed   feed

	mu   sync.Mutex
	info wire.JobInfo
	done *wire.Done
}

func (j *job) state() wire.JobInfo {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.info
}

func (j *job) started(now time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.info.State, j.info.Started = "running", now
}

// finish tells how the job ended. What was needed to run it is let go.
func (j *job) finish(done *wire.Done, now time.Time) {
	j.mu.Lock()
	j.info.State, j.info.Ended, j.done, j.request = "done", now, done, nil
	if done.Problem != nil {
		j.info.State = "failed"
	}
	j.mu.Unlock()
	j.feed.end()
}

func (j *job) result() *wire.Done {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.done
}

// remembered is how many jobs that have ended are kept, for attach and jobs.
const remembered = 200

// jobs are those that wait, run, or ended not long ago.
type jobs struct {
	limit int

	mu      sync.Mutex
	list    []*job // oldest first
	ended   int
	active  map[int]int // by user
	running sync.WaitGroup
}

func newJobs(limit int) *jobs { return &jobs{limit: limit, active: map[int]int{}} }

// add takes a job, unless there are too many of all or of its user.
func (l *jobs) add(j *job, perUser int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.list)-l.ended >= l.limit || perUser > 0 && l.active[j.caller.UID] >= perUser {
		return &rules.Refused{Kind: rules.Busy, Reason: "too many jobs are waiting; try again later"}
	}
	j.info.ID = strings.ToLower(rand.Text()[:10])
	l.list = append(l.list, j)
	l.active[j.caller.UID]++
	l.running.Add(1)
	return nil
}

// end notes that a job is over, and forgets the oldest of those that are.
func (l *jobs) end(j *job) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.active[j.caller.UID]--; l.active[j.caller.UID] == 0 {
		delete(l.active, j.caller.UID)
	}
	if l.ended++; l.ended > remembered {
		oldest := slices.IndexFunc(l.list, func(j *job) bool { return j.result() != nil })
		l.list = slices.Delete(l.list, oldest, oldest+1)
		l.ended--
	}
	l.running.Done()
}

func (l *jobs) wait() { l.running.Wait() }

// find is the job that the caller may know of and whose ID begins with the text.
func (l *jobs) find(c wire.Caller, text string) (found *job, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, j := range l.list {
		if text == "" || !strings.HasPrefix(j.info.ID, text) || c.UID != 0 && c.UID != j.caller.UID {
			continue
		}
		if found != nil {
			return nil, &rules.Refused{Kind: rules.Malformed, Reason: fmt.Sprintf("several jobs begin with %q", cut(text))}
		}
		found = j
	}
	if found == nil {
		return nil, &rules.Refused{Kind: rules.Caller, Reason: fmt.Sprintf("there is no job %q of user %d", cut(text), c.UID)}
	}
	return found, nil
}

// of lists the jobs of a user, or of all for root.
func (l *jobs) of(c wire.Caller) []wire.JobInfo {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := []wire.JobInfo{}
	for _, j := range l.list {
		if c.UID == 0 || c.UID == j.caller.UID {
			list = append(list, j.state())
		}
	}
	return list
}
