package build

import (
	"encoding/json"
	"io"
	"sync"
	"time"

	"hdjail/policies"
)

// Event is one thing that happened while a plan was realized, one line of NDJSON. Fields are only ever added within a
// version. Event is one of
//
//	plan         Total steps are to be realized
//	step         one step of the plan: Drv, Name, Dependencies, Target
//	build.start  no realization was found, so the build is run
//	build.phase  Phase begins: "lock", "fetch", "sources", "host", "run", "check", "register"
//	build.fetch  Done of Total bytes of Source have arrived; Total is -1 while unknown
//	build.log    Text was printed by the build, whole lines
//	build.audit  the run is over: Counts of accesses by verdict, whether the record is Complete, and Reasons if not
//	build.leaks  the output needs Total things outside itself, its dependencies and its whitelist, or names them
//	build.done   Status "built", "cached", "failed" or "skipped"; Realization, Path, Seconds, Error, Kind; a failed one has
//	             the Realization that was built last if its matcher refused
//	done         the last event: Exit
type Event struct {
	Version int       `json:"v"`
	Time    time.Time `json:"time"`
	Event   string    `json:"event"`

	Drv          string   `json:"drv,omitempty"`
	Name         string   `json:"name,omitempty"`
	Dependencies []string `json:"dependencies,omitempty"`
	Target       bool     `json:"target,omitempty"`
	Phase        string   `json:"phase,omitempty"`
	Text         string   `json:"text,omitempty"`
	Source       string   `json:"source,omitempty"`
	Done         int64    `json:"done,omitempty"`
	Total        int64    `json:"total,omitempty"`
	Status       string   `json:"status,omitempty"`
	Realization  string   `json:"realization,omitempty"`
	Path         string   `json:"path,omitempty"`
	Seconds      float64  `json:"seconds,omitempty"`
	Kind         string   `json:"kind,omitempty"`
	Error        string   `json:"error,omitempty"`
	Exit         *int     `json:"exit,omitempty"`
	Complete     *bool    `json:"complete,omitempty"`
	Reasons      []string `json:"reasons,omitempty"`

	Counts map[policies.Verdict]int64 `json:"counts,omitempty"`
}

// EventVersion is the value of Event.Version.
const EventVersion = 1

// EventSink takes events, from several goroutines at a time. It must not block for long: builds wait for it.
type EventSink interface {
	Send(Event)
}

// EventFunc is an EventSink.
type EventFunc func(Event)

// Send calls f.
func (f EventFunc) Send(e Event) { f(e) }

// EventWriter writes events as NDJSON, one write a line.
type EventWriter struct {
	mu  sync.Mutex
	w   io.Writer
	err error
}

// NewEventWriter returns a sink that writes to w.
func NewEventWriter(w io.Writer) *EventWriter { return &EventWriter{w: w} }

// Send implements EventSink. After a failed write nothing more is written.
func (w *EventWriter) Send(e Event) {
	line, err := json.Marshal(e)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil && err == nil {
		_, err = w.w.Write(append(line, '\n'))
	}
	if w.err == nil {
		w.err = err
	}
}

// Err returns the first error of writing.
func (w *EventWriter) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}
