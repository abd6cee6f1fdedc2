package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"hdjail/artifact"
	"hdjail/build"
	"hdjail/build/daemon/metrics"
	"hdjail/build/daemon/queue"
	"hdjail/build/daemon/rules"
	"hdjail/build/daemon/sitelog"
	"hdjail/build/daemon/wire"
	"hdjail/build/plan"
)

// Sources are those of the store; *sources.Store is one. Safe for concurrent use.
type Sources interface {
	Has(digest string) bool
	// Receive stores what a descriptor of a caller holds, under the digest that it must have.
	Receive(ctx context.Context, digest string, from *os.File) error
	Size(ctx context.Context, digest string) (int64, error)
}

// Config is what a Server works with. All of it is required, but for Metrics.
type Config struct {
	// Builder is what builds are made by. Its Store is the daemon's; each job has a copy with a Runner that waits for a place,
	// and with Events, Strict, LockWait and Identity of its own.
	Builder build.Builder
	Host    plan.HostPackages
	Sources Sources
	Rules   *rules.Rules
	Log     *sitelog.Log
	// LogName is the path of Log, which is read again when a quota seems to be used up.
	LogName string
	// System is the kind of machine that builds.
	System string
	// Places is how many builds run at once, Queued how many jobs may wait.
	Places, Queued int
	// Explain makes an error what a person sees of it.
	Explain func(error) wire.Problem
	Metrics *metrics.Set
}

// Limits of a connection.
const (
	// patience is how long a frame may take once it has begun, and the first one to come.
	patience = 30 * time.Second
	// idle is how long a client may think between two requests; it digests trees meanwhile.
	idle = time.Hour
	// perUser and connections are how many of them there may be at once.
	perUser     = 512
	connections = 2048
)

// Server is a running daemon. Make one with New.
type Server struct {
	c     Config
	queue *queue.Queue
	jobs  *jobs
	usage *ledger
	noisy noisy
	count counters

	mu   sync.Mutex
	open map[int]*guest // by user
	all  int
}

// guest is a user with connections. large has a place for each of his large frames while it is read.
type guest struct {
	connections int
	large       chan struct{}
}

// A frame from largeFrame bytes on takes one of largeFrames places of its user, so that nobody can fill the memory.
const (
	largeFrame  = 64 << 10
	largeFrames = 4
)

// New makes a Server.
func New(c Config) (*Server, error) {
	s := &Server{c: c, queue: queue.New(c.Places), jobs: newJobs(c.Queued), open: map[int]*guest{}}
	s.usage = &ledger{exists: s.exists, name: c.LogName, now: c.Builder.Now}
	if err := s.usage.recount(); err != nil {
		return nil, err
	}
	if c.Metrics != nil {
		s.count = newCounters(c.Metrics, s)
	}
	return s, c.Log.Append(sitelog.Entry{Event: "start", UID: c.Builder.Identity.UID})
}

// Serve answers on l until ctx is done. Then it takes no more requests, ends all jobs, and returns when nothing of them is
// left. It closes l.
func (s *Server) Serve(ctx context.Context, l *net.UnixListener) error {
	var group sync.WaitGroup
	defer group.Wait()
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	for {
		socket, err := l.AcceptUnix()
		if ctx.Err() != nil {
			if err == nil {
				socket.Close()
			}
			group.Wait() // so that no job is added any more
			s.jobs.wait()
			return nil
		}
		if err != nil {
			var temporary interface{ Temporary() bool }
			if errors.As(err, &temporary) && temporary.Temporary() { // no descriptor is free, for one
				select {
				case <-time.After(10 * time.Millisecond):
				case <-ctx.Done():
				}
				continue
			}
			return fmt.Errorf("serve: %w", err)
		}
		group.Go(func() { s.connection(ctx, wire.NewConn(socket)) })
	}
}

// connection is one client, until it goes or does something wrong.
func (s *Server) connection(ctx context.Context, conn *wire.Conn) {
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Await(time.Unix(1, 0)) }) // no more requests
	defer stop()
	caller, err := conn.Peer()
	if err != nil {
		return
	}
	me := s.enter(caller)
	if me == nil {
		s.refused(conn, caller, "", &rules.Refused{Kind: rules.Busy, Reason: "too many connections"})
		return
	}
	defer s.leave(caller)
	holds := false
	conn.Admit(func(size int) {
		if size >= largeFrame {
			me.large <- struct{}{} // which is free again after patience at the latest
			holds = true
		}
	})
	deadline := patience
	for {
		if conn.Await(time.Now().Add(deadline)) != nil || ctx.Err() != nil {
			return
		}
		q := new(wire.Request)
		file, err := conn.Receive(q, patience)
		if holds {
			<-me.large
			holds = false
		}
		if err != nil {
			if malformed := (*wire.FrameError)(nil); errors.As(err, &malformed) {
				s.refused(conn, caller, "", &rules.Refused{Kind: rules.Malformed, Reason: malformed.Error()})
			}
			return
		}
		more := s.request(ctx, conn, &call{caller: caller, request: q, file: file})
		if file != nil {
			file.Close()
		}
		if !more {
			return
		}
		deadline = idle
	}
}

// enter counts a connection; nil is one too many.
func (s *Server) enter(c wire.Caller) *guest {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.open[c.UID]
	if g == nil {
		g = &guest{large: make(chan struct{}, largeFrames)}
	}
	if s.all >= connections || g.connections >= perUser && c.UID != 0 {
		return nil
	}
	s.all++
	g.connections++
	s.open[c.UID] = g
	return g
}

func (s *Server) leave(c wire.Caller) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all--
	if g := s.open[c.UID]; g.connections == 1 {
		delete(s.open, c.UID)
	} else {
		g.connections--
	}
}

// exists tells whether the store still has what an entry of the site's log is about.
func (s *Server) exists(e sitelog.Entry) bool {
	switch {
	case e.Source != "":
		return s.c.Sources.Has(e.Source)
	case e.Realization != "":
		id, err := artifact.ParseRealizationID(e.Realization)
		if err != nil {
			return false
		}
		_, err = os.Lstat(s.c.Builder.Store.OutPath(id))
		return err == nil
	case len(e.Derivations) == 1:
		id, err := artifact.ParseDerivationID(e.Derivations[0])
		if err == nil && e.Event == "derivation" {
			_, err = s.c.Builder.Store.Derivation(id)
			return err == nil
		}
		return err == nil && s.c.Builder.Store.HasRecord(id, e.Number)
	}
	return false
}
