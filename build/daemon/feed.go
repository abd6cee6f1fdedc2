package daemon

import (
	"encoding/json"
	"sync"
)

// Bounds of what is kept of a job's events for those who come later, and of what waits for a client that reads slowly.
const (
	keptEvents = 64 << 10
	keptLog    = 16 << 10
	backlog    = 1 << 20
)

// feed passes the events of a job on to all who follow it. Log lines are dropped where somebody is too slow for them; other
// events are few, and kept.
type feed struct {
	mu      sync.Mutex
	kept    ring
	log     ring
	readers map[*reader]bool
	ended   bool
}

// ring keeps the last events, up to a number of bytes.
type ring struct {
	list  []json.RawMessage
	bytes int
}

func (r *ring) add(e json.RawMessage, most int) {
	r.list = append(r.list, e)
	for r.bytes += len(e); r.bytes > most && len(r.list) > 1; r.list = r.list[1:] {
		r.bytes -= len(r.list[0])
	}
}

// reader is one who follows a feed.
type reader struct {
	queue []json.RawMessage
	bytes int
	wake  chan struct{}
}

func (f *feed) publish(e json.RawMessage, isLog bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if isLog {
		f.log.add(e, keptLog)
	} else {
		f.kept.add(e, keptEvents)
	}
	for r := range f.readers {
		if isLog && r.bytes > backlog {
			continue
		}
		r.queue, r.bytes = append(r.queue, e), r.bytes+len(e)
		r.rouse()
	}
}

func (r *reader) rouse() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// end wakes everybody for the last time.
func (f *feed) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
	for r := range f.readers {
		r.rouse()
	}
}

// follow begins with what was kept.
func (f *feed) follow() *reader {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := &reader{wake: make(chan struct{}, 1)}
	r.queue = append(append(r.queue, f.kept.list...), f.log.list...)
	if f.readers == nil {
		f.readers = map[*reader]bool{}
	}
	f.readers[r] = true
	r.rouse()
	return r
}

func (f *feed) leave(r *reader) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.readers, r)
}

// take returns what is new, and whether that was all there will be.
func (f *feed) take(r *reader) (events []json.RawMessage, ended bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	events, r.queue, r.bytes = r.queue, nil, 0
	return events, f.ended
}
