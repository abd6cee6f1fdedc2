package container

import (
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"hdjail/jail"
)

// output carries what the jail prints to the writers of its Config, and counts it.
type output struct {
	stdout, stderr *os.File // the jail's ends
	owned, reading []*os.File
	limit          int64
	bytes          atomic.Int64
	last           atomic.Int64 // time of the last byte, Unix nanoseconds
	copies         sync.WaitGroup
}

// newOutput hands files through as they are, unless their bytes must be counted; other writers get a pipe.
func newOutput(c jail.Config) (o *output, err error) {
	o = &output{limit: c.Limits.Log}
	o.last.Store(time.Now().UnixNano())
	count := c.Limits.Log > 0 || c.Limits.Silence > 0
	if o.stdout, err = o.open(c.Stdout, count); err != nil {
		return o, err
	}
	if c.Stderr == c.Stdout {
		o.stderr = o.stdout
		return o, nil
	}
	o.stderr, err = o.open(c.Stderr, count)
	return o, err
}

func (o *output) open(w io.Writer, count bool) (*os.File, error) {
	if w == nil {
		w = io.Discard
	}
	if file, ok := w.(*os.File); ok && !count {
		return file, nil
	}
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	o.owned, o.reading = append(o.owned, write), append(o.reading, read)
	o.copies.Add(1)
	go func() {
		defer o.copies.Done()
		defer read.Close()
		io.Copy(o.counting(w), read)
		io.Copy(io.Discard, read) // a writer that fails must not stop the build with SIGPIPE
	}()
	return write, nil
}

func (o *output) counting(w io.Writer) io.Writer {
	return writerFunc(func(b []byte) (int, error) {
		o.last.Store(time.Now().UnixNano())
		if o.bytes.Add(int64(len(b))); o.limit > 0 && o.bytes.Load() > o.limit {
			return len(b), nil // the run is about to be stopped for it
		}
		return w.Write(b)
	})
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

func (o *output) closeChildEnds() {
	for _, f := range o.owned {
		f.Close()
	}
	o.owned = nil
}

// drainTime is how long what was printed may take to be passed on after the jail's end. Only a descriptor that was smuggled
// out of the jail keeps a pipe open then, or a reader of ours that does not read.
const drainTime = 2 * time.Second

// finish returns when everything that was printed has been passed on.
func (o *output) finish() {
	for _, read := range o.reading {
		read.SetReadDeadline(time.Now().Add(drainTime))
	}
	o.copies.Wait()
}

// watch looks at the limits that the kernel does not hold for us.
type watch struct {
	C       <-chan time.Time
	ticker  *time.Ticker
	limits  jail.Limits
	started time.Time
}

const watchInterval = 100 * time.Millisecond

func newWatch(l jail.Limits, started time.Time) *watch {
	w := &watch{limits: l, started: started}
	if l.Wall > 0 || l.Silence > 0 || l.Log > 0 {
		w.ticker = time.NewTicker(watchInterval)
		w.C = w.ticker.C
	}
	return w
}

func (w *watch) stop() {
	if w.ticker != nil {
		w.ticker.Stop()
	}
}

// exceeded names the limit that is passed, or is empty.
func (w *watch) exceeded(o *output) string {
	now := time.Now()
	switch {
	case w.limits.Wall > 0 && now.Sub(w.started) > w.limits.Wall:
		return "wall"
	case w.limits.Silence > 0 && now.Sub(time.Unix(0, o.last.Load())) > w.limits.Silence:
		return "silence"
	case w.limits.Log > 0 && o.bytes.Load() > w.limits.Log:
		return "log"
	}
	return ""
}
