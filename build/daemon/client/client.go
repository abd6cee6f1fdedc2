// Package client talks to the daemon for a user: it reads what the user can read, and passes it on as descriptors, so that the
// daemon opens nothing by a name that it was told. A Client takes the places of the host's packages and of the sources when
// specs are resolved.
package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/zeebo/blake3"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"hdjail/artifact"
	"hdjail/artifact/tree"
	"hdjail/build"
	"hdjail/build/daemon/wire"
	"hdjail/build/plan"
	"hdjail/build/sources"
	"hdjail/hostpkgs"
)

// Error is what the daemon said went wrong, as a person sees it.
type Error struct{ wire.Problem }

// Error implements error: one line.
func (e *Error) Error() string { return e.Text }

// LostError reports a daemon that went away, with what was under way.
type LostError struct{ Err error }

// Error implements error.
func (e *LostError) Error() string { return fmt.Sprintf("lost the daemon: %v", e.Err) }

// Unwrap returns the cause.
func (e *LostError) Unwrap() error { return e.Err }

// Client is a connection to a daemon. It is safe for concurrent use; requests are answered one after the other.
type Client struct {
	// Info is what the daemon says of itself, UID who runs it.
	Info wire.DaemonInfo
	UID  int

	mu   sync.Mutex
	conn *wire.Conn
	path string
}

var (
	_ plan.HostPackages = (*Client)(nil)
	_ plan.LocalSources = (*Client)(nil)
)

// Dial connects to the daemon that listens at path, and greets it.
func Dial(ctx context.Context, path string) (*Client, error) {
	socket, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	c := &Client{conn: wire.NewConn(socket.(*net.UnixConn)), path: path} // of a network "unix" it is one
	peer, err := c.conn.Peer()
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	c.UID = peer.UID
	reply, err := c.ask(ctx, wire.Request{Hello: &wire.Hello{}}, nil)
	if err == nil && reply.Daemon == nil {
		err = errors.New("the daemon did not say what it is")
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	c.Info = *reply.Daemon
	return c, nil
}

// Close ends the connection.
func (c *Client) Close() error { return c.conn.Close() }

// ask sends a request and waits for the answer.
func (c *Client) ask(ctx context.Context, q wire.Request, file *os.File) (wire.Reply, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	stop := context.AfterFunc(ctx, func() { c.conn.Close() })
	defer stop()
	q.Version = wire.Version
	sent := c.conn.Send(q, file)
	if errors.As(sent, new(*wire.TooLargeError)) {
		return wire.Reply{}, sent
	}
	r, err := c.receive(ctx) // the daemon may have said why it does not listen any more
	if err != nil {
		err = errors.Join(sent, err)
	}
	return r, err
}

func (c *Client) receive(ctx context.Context) (r wire.Reply, err error) {
	file, err := c.conn.Receive(&r, 0)
	if file != nil {
		file.Close() // a daemon passes none
	}
	switch {
	case ctx.Err() != nil:
		return r, context.Cause(ctx)
	case errors.Is(err, io.EOF):
		return r, &LostError{errors.New("it closed the connection")}
	case err != nil:
		return r, &LostError{err}
	case r.Error != nil:
		return r, &Error{*r.Error}
	}
	return r, nil
}

// Pin implements plan.HostPackages.
func (c *Client) Pin(ctx context.Context, names []string) ([]hostpkgs.Pinned, error) {
	r, err := c.ask(ctx, wire.Request{Pin: &wire.Pin{Packages: names}}, nil)
	if err != nil || r.Pins == nil {
		return nil, err
	}
	return r.Pins.Packages, nil
}

// Owner implements plan.HostPackages.
func (c *Client) Owner(ctx context.Context, path string) (string, bool, error) {
	r, err := c.ask(ctx, wire.Request{Owner: &wire.Owner{Path: path}}, nil)
	if err != nil || r.Owned == nil {
		return "", false, err
	}
	return r.Owned.Package, r.Owned.Owned, nil
}

// Missing returns those of the sources that the store lacks.
func (c *Client) Missing(ctx context.Context, digests []string) ([]string, error) {
	r, err := c.ask(ctx, wire.Request{Have: &wire.Have{Digests: digests}}, nil)
	if err != nil || r.Missing == nil {
		return nil, err
	}
	return r.Missing.Digests, nil
}

// Put brings a source, which the open file holds.
func (c *Client) Put(ctx context.Context, digest string, file *os.File) error {
	_, err := c.ask(ctx, wire.Request{Put: &wire.Put{Digest: digest}}, file)
	return err
}

// Derive brings a derivation.
func (c *Client) Derive(ctx context.Context, d *artifact.Derivation) error {
	_, err := c.ask(ctx, wire.Request{Derive: d}, nil)
	return err
}

// Jobs lists the caller's jobs.
func (c *Client) Jobs(ctx context.Context) ([]wire.JobInfo, error) {
	r, err := c.ask(ctx, wire.Request{Jobs: &wire.Jobs{}}, nil)
	if err != nil || r.Jobs == nil {
		return nil, err
	}
	return r.Jobs.Jobs, nil
}

// OpenFile implements plan.LocalSources: sources are readable for everybody.
func (c *Client) OpenFile(digest string) (*os.File, error) {
	d, err := sources.ParseDigest(digest)
	if err != nil {
		return nil, err
	}
	return os.Open(filepath.Join(c.Info.Store, "sources", d.Algorithm, d.Hex))
}

// AddLocal implements plan.LocalSources. What the caller cannot read is an error here, whatever the daemon could.
func (c *Client) AddLocal(ctx context.Context, path string) (string, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return "", err
	case info.IsDir():
		return c.addTree(ctx, f)
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("add source %q: it is neither a file nor a directory", path)
	}
	hash := blake3.New()
	if _, err := io.Copy(hash, f); err != nil {
		return "", fmt.Errorf("add source %q: %w", path, err)
	}
	digest := fmt.Sprintf("blake3:%x", hash.Sum(nil))
	if missing, err := c.Missing(ctx, []string{digest}); err != nil || len(missing) == 0 {
		return digest, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	return digest, c.Put(ctx, digest, f)
}

func (c *Client) addTree(ctx context.Context, dir *os.File) (string, error) {
	content, _, err := tree.Digest(ctx, dir, tree.Options{})
	if err != nil {
		return "", fmt.Errorf("add source %q: %w", dir.Name(), err)
	}
	digest := "tree:" + strings.TrimPrefix(content.String(), "blake3:")
	if missing, err := c.Missing(ctx, []string{digest}); err != nil || len(missing) == 0 {
		return digest, err
	}
	read, write, err := os.Pipe()
	if err != nil {
		return "", err
	}
	var group errgroup.Group
	group.Go(func() error { return errors.Join(sources.Pack(ctx, dir, write), write.Close()) })
	err = c.Put(ctx, digest, read)
	read.Close() // a daemon that refused does not read on, and Pack ends then
	if packed := group.Wait(); err == nil {
		err = packed
	}
	return digest, err
}

// Follower is told of a job.
type Follower struct {
	// Job is called first, Event for each event.
	Job   func(wire.JobInfo)
	Event func(build.Event)
}

// Build has derivations built, and follows that until the end. The connection can do nothing else afterwards. If ctx is done
// or the connection ends, the daemon stops the job, unless it is detached: then Build returns nil once the daemon has the job.
func (c *Client) Build(ctx context.Context, b *wire.Build, f Follower) (*wire.Done, error) {
	return c.follow(ctx, wire.Request{Build: b}, f)
}

// Attach follows a job until its end.
func (c *Client) Attach(ctx context.Context, job string, f Follower) (*wire.Done, error) {
	return c.follow(ctx, wire.Request{Attach: &wire.Attach{Job: job}}, f)
}

func (c *Client) follow(ctx context.Context, q wire.Request, f Follower) (*wire.Done, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	stop := context.AfterFunc(ctx, func() { c.conn.Close() })
	defer stop()
	q.Version = wire.Version
	if err := errors.Join(c.conn.Await(time.Time{}), c.conn.Send(q, nil)); err != nil {
		return nil, err
	}
	for {
		r, err := c.receive(ctx)
		switch {
		case err != nil:
			return nil, err
		case r.Done != nil:
			return r.Done, nil
		case r.Job != nil:
			f.Job(*r.Job)
			if q.Build != nil && q.Build.Detach {
				return nil, nil
			}
		case r.Event != nil:
			var e build.Event
			if err := json.Unmarshal(r.Event, &e); err != nil {
				return nil, &LostError{err}
			}
			f.Event(e)
		}
	}
}
