package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"hdjail/artifact"
	"hdjail/build/daemon/metrics"
	"hdjail/build/daemon/rules"
	"hdjail/build/daemon/sitelog"
	"hdjail/build/daemon/wire"
)

// call is one request of a caller.
type call struct {
	caller  wire.Caller
	request *wire.Request
	// file is the descriptor that came along, nil for none.
	file *os.File
	// reached are the derivations of a build, job is that of an attach request.
	reached []*artifact.Derivation
	job     *job
}

// request answers one request, and tells whether the connection may go on.
func (s *Server) request(ctx context.Context, conn *wire.Conn, c *call) (more bool) {
	kind := c.request.Kind()
	subject, err := s.subject(c)
	if err == nil {
		err = s.c.Rules.Authorize(c.caller, c.request, subject)
	}
	if err == nil && (c.file != nil) != (kind == "put") {
		err = &rules.Refused{Kind: rules.Malformed, Reason: "a source comes with a descriptor, and nothing else does"}
	}
	if err == nil && kind == "put" {
		err = checkFile(c.file)
	}
	if refused := (*rules.Refused)(nil); errors.As(err, &refused) {
		s.refused(conn, c.caller, kind, refused)
		return false
	}
	s.count.requests.Add(1, metrics.Labels("kind", kind, "decision", "allowed"))
	if err == nil && kind == "attach" {
		s.follow(ctx, conn, c.job) // which goes on when this client goes
		return false
	}
	if err == nil && kind == "build" {
		var j *job
		if j, err = s.submit(ctx, c); err == nil {
			if !s.follow(ctx, conn, j) && !c.request.Build.Detach {
				j.cancel(errGone)
			}
			return false
		}
	}
	var reply wire.Reply
	if err == nil {
		reply, err = s.answer(ctx, kind, c)
	}
	return s.reply(conn, c, reply, err)
}

// reply sends an answer, or what went wrong instead.
func (s *Server) reply(conn *wire.Conn, c *call, reply wire.Reply, err error) (more bool) {
	if refused := (*rules.Refused)(nil); errors.As(err, &refused) {
		s.refused(conn, c.caller, c.request.Kind(), refused)
		return false
	}
	if err != nil {
		problem := s.c.Explain(err)
		reply = wire.Reply{Error: &problem}
	}
	reply.Version = wire.Version
	return conn.Send(reply, nil) == nil
}

// subject finds what a request is about. A build of what the store does not have, and a job that there is not, are refused
// like what is not allowed.
func (s *Server) subject(c *call) (about rules.Subject, err error) {
	switch {
	case c.request.Build != nil:
		about.Derivations, err = s.reach(c.request.Build)
		c.reached = about.Derivations
	case c.request.Attach != nil:
		c.job, err = s.jobs.find(c.caller, c.request.Attach.Job)
		if c.job != nil {
			about.Owner = c.job.caller.UID
		}
	}
	return about, err
}

// reach reads the derivations of a build.
func (s *Server) reach(b *wire.Build) ([]*artifact.Derivation, error) {
	list := make([]*artifact.Derivation, 0, min(len(b.Steps), 1024))
	for _, step := range b.Steps {
		d, err := s.c.Builder.Store.Derivation(step.ID)
		if err != nil {
			return nil, &rules.Refused{Kind: rules.Malformed, Reason: err.Error()}
		}
		list = append(list, d)
	}
	return list, nil
}

// answer does what was authorized and is done at once.
func (s *Server) answer(ctx context.Context, kind string, c *call) (r wire.Reply, err error) {
	switch q := c.request; kind {
	case "hello":
		st := s.c.Builder.Store
		r.Daemon = &wire.DaemonInfo{Store: st.Root(), Prefix: st.Prefix(), System: s.c.System}
	case "pin":
		r.Pins = &wire.Pins{}
		r.Pins.Packages, err = s.c.Host.Pin(ctx, q.Pin.Packages)
		for i := range r.Pins.Packages {
			r.Pins.Packages[i].Omitted = nil // long, and no part of a derivation
		}
	case "owner":
		r.Owned = &wire.Owned{}
		r.Owned.Package, r.Owned.Owned, err = s.c.Host.Owner(ctx, q.Owner.Path)
	case "have":
		r.Missing = &wire.Missing{}
		for _, digest := range q.Have.Digests {
			if !s.c.Sources.Has(digest) {
				r.Missing.Digests = append(r.Missing.Digests, digest)
			}
		}
	case "put":
		r.Stored = &wire.Stored{ID: q.Put.Digest}
		err = s.put(ctx, c)
	case "derive":
		r.Stored = &wire.Stored{ID: q.Derive.ID().String()}
		err = s.derive(c)
	case "jobs":
		r.Jobs = &wire.JobList{Jobs: s.jobs.of(c.caller)}
	}
	return r, err
}

// receivePatience is how long a source may take to arrive.
const receivePatience = time.Hour

// put stores a source and charges it to its user.
func (s *Server) put(ctx context.Context, c *call) error {
	digest := c.request.Put.Digest
	if s.c.Sources.Has(digest) {
		return nil
	}
	if err := s.withinQuota(c.caller); err != nil {
		return err
	}
	// A pipe without end must not keep us; a file has no deadline, and needs none.
	_ = c.file.SetReadDeadline(time.Now().Add(receivePatience))
	stop := context.AfterFunc(ctx, func() { _ = c.file.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := s.c.Sources.Receive(ctx, digest, c.file); err != nil {
		return err
	}
	bytes, err := s.c.Sources.Size(ctx, digest)
	if err != nil {
		return err
	}
	return s.charge(sitelog.Entry{Event: "source", UID: c.caller.UID, PID: c.caller.PID, Request: "put", Decision: "allowed", Source: digest,
		Bytes: bytes})
}

// derive stores a derivation and charges it to its user, if it is new.
func (s *Server) derive(c *call) error {
	d := c.request.Derive
	id := d.ID()
	if _, err := s.c.Builder.Store.Derivation(id); err == nil {
		return nil
	}
	if err := s.withinQuota(c.caller); err != nil {
		return err
	}
	if _, err := s.c.Builder.Store.PutDerivation(d); err != nil {
		return err
	}
	text, err := json.Marshal(d)
	if err != nil {
		return err
	}
	return s.charge(sitelog.Entry{Event: "derivation", UID: c.caller.UID, PID: c.caller.PID, Request: "derive", Decision: "allowed",
		Name: d.Name, Derivations: []string{id.String()}, Bytes: int64(len(text))})
}

// charge writes an entry to the site's log, and counts what it adds to the use of its user.
func (s *Server) charge(e sitelog.Entry) error {
	if err := s.c.Log.Append(e); err != nil {
		return err
	}
	s.usage.add(e)
	return nil
}

// withinQuota refuses a caller whose quota is used up.
func (s *Server) withinQuota(c wire.Caller) error {
	quota, err := s.c.Rules.Quota(c)
	if err != nil {
		return err
	}
	store, logs, err := s.usage.left(c.UID, quota)
	switch {
	case err != nil:
		return err
	case store == 0:
		return &rules.Refused{Kind: rules.Quota, Reason: fmt.Sprintf("user %d has used up the quota of %d bytes in the store", c.UID, quota.Store)}
	case logs == 0:
		return &rules.Refused{Kind: rules.Quota, Reason: fmt.Sprintf("user %d has used up the quota of %d bytes of logs", c.UID, quota.Logs)}
	}
	return nil
}

// refused tells the caller and the site's log of a refusal.
func (s *Server) refused(conn *wire.Conn, c wire.Caller, kind string, why *rules.Refused) {
	s.count.requests.Add(1, metrics.Labels("kind", kind, "decision", "refused"))
	if reason := s.noisy.reason(c.UID, s.c.Builder.Now(), string(why.Kind)+": "+cut(why.Reason)); reason != "" {
		// A log that cannot be written keeps nobody from being refused.
		_ = s.c.Log.Append(sitelog.Entry{Event: "request", UID: c.UID, PID: c.PID, Request: kind, Decision: "refused", Reason: reason})
	}
	problem := s.c.Explain(why)
	_ = conn.Send(wire.Reply{Version: wire.Version, Error: &problem}, nil) // the connection ends anyway
}

// cut bounds a text of a caller in the log.
func cut(text string) string { return text[:min(len(text), 1000)] }

// checkFile refuses descriptors that could answer differently to the daemon than to the caller, or act: only files and pipes
// of file systems that hold data are read.
func checkFile(f *os.File) error {
	refuse := func(reason string) error {
		return &rules.Refused{Kind: rules.Malformed, Reason: "the descriptor of a source " + reason}
	}
	info, err := f.Stat()
	if err != nil {
		return refuse("cannot be looked at")
	}
	flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0)
	if err != nil || flags&unix.O_ACCMODE == unix.O_WRONLY || flags&unix.O_PATH != 0 {
		return refuse("cannot be read")
	}
	if info.Mode()&os.ModeNamedPipe != 0 {
		return nil
	}
	var fs unix.Statfs_t
	if !info.Mode().IsRegular() || unix.Fstatfs(int(f.Fd()), &fs) != nil {
		return refuse("is neither a file nor a pipe")
	}
	switch fs.Type {
	case unix.PROC_SUPER_MAGIC, unix.SYSFS_MAGIC, unix.CGROUP_SUPER_MAGIC, unix.CGROUP2_SUPER_MAGIC, unix.DEBUGFS_MAGIC, unix.TRACEFS_MAGIC,
		unix.SECURITYFS_MAGIC, unix.BPF_FS_MAGIC:
		return refuse("is of a file system that is no storage")
	}
	return nil
}
