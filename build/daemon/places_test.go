package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"hdjail/build/daemon/queue"
)

// A job whose first place is taken waits for another one or for the first, whichever is free sooner, and keeps neither.
func TestPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := queue.New(2)
		p := newPlaces(func(ctx context.Context) (func(), error) { return q.Acquire(ctx, 1, 0) })
		if err := p.open(t.Context()); err != nil {
			t.Fatal(err)
		}
		first, err1 := p.take(t.Context())
		second, err2 := p.take(t.Context())
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		third := make(chan func())
		take := func() {
			back, err := p.take(t.Context())
			if err != nil {
				t.Error(err)
			}
			third <- back
		}
		go take()
		synctest.Wait()
		first()
		back := <-third // the first place
		go take()
		synctest.Wait()
		second()
		other := <-third // one of the queue
		if running, waiting := q.Counts(); running != 2 || waiting != 0 {
			t.Errorf("%d run and %d wait", running, waiting)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		gone := errors.New("gone")
		cancel(gone)
		if _, err := p.take(ctx); !errors.Is(err, gone) {
			t.Errorf("cancelled: %v", err)
		}
		back()
		other()
		p.close()
		synctest.Wait()
		if running, waiting := q.Counts(); running != 0 || waiting != 0 {
			t.Errorf("in the end %d run and %d wait", running, waiting)
		}
	})
}

// Who follows slowly loses lines of the log, and nothing else; who comes late gets what was kept.
func TestFeed(t *testing.T) {
	var f feed
	line := json.RawMessage(strings.Repeat("x", 1000))
	r := f.follow()
	for range 3000 {
		f.publish(line, true)
	}
	f.publish(json.RawMessage("event"), false)
	events, ended := f.take(r)
	if n := len(events); ended || n < 900 || n > 1100 || string(events[n-1]) != "event" {
		t.Errorf("%d events, the last is %.20s, ended %v", n, events[n-1], ended)
	}
	f.end()
	late := f.follow()
	events, ended = f.take(late)
	if n := len(events); !ended || n != 1+keptLog/1000 || string(events[0]) != "event" {
		t.Errorf("later %d events, ended %v", n, ended)
	}
	f.leave(r)
	f.leave(late)
	if len(f.readers) != 0 {
		t.Errorf("%d readers are left", len(f.readers))
	}
}
