// Package recording makes the record of a run: it hands a jail's configuration the log that observers write to, and makes
// an audit of it when the run is over. What the host has, who owns its files and what the site says come in from outside.
package recording

import (
	"context"
	"fmt"
	"io"
	"iter"
	"os"
	"path"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"hdjail/build/jailplan"
	"hdjail/jail"
	"hdjail/jail/observe"
	"hdjail/policies"
	"hdjail/policies/audit"
)

// Recorder makes the records of one host. Its fields are set once; then it may be used by several goroutines.
type Recorder struct {
	Host observe.Host
	// Owners opens the index of the host's packages when it is first needed; nil where there is none.
	Owners func(ctx context.Context) (observe.Owners, error)
	// Rules are those of the site.
	Rules []policies.PathRule
	// Degraded are the degradations that the user has allowed and the host needs.
	Degraded []string
	// System and Kernel name the machine.
	System, Kernel string
}

// Subject is what a record is about.
type Subject struct {
	View jailplan.View
	// Allowed is a tree with everything that the whitelisted packages have, for modes that show more; empty for none.
	Allowed string
	// Derivation is its ID, Command what was run where there is none.
	Derivation string
	Command    []string
	Whitelist  audit.Whitelist
	// Unowned tells that nobody wants to know who owns what, which takes time to find out.
	Unowned bool
}

// Record is the record of one run. Release gives back what it holds.
type Record struct {
	// Header and Processes are set by Finish.
	Header    audit.Header
	Processes []audit.Process
	// Notable are the entries that are outside the whitelist or were denied, as far as anybody reads them.
	Notable []audit.Access
	// Outside are the first entries outside the whitelist, in the order of the audit; OutsidePaths counts their paths, all of
	// them.
	Outside      []audit.Access
	OutsidePaths int
	// Output is what was found in what the run made; nil for nothing.
	Output []byte

	recorder  *Recorder
	subject   Subject
	log       *observe.Log
	whitelist *treeWhitelist
	owners    func() (observe.Owners, error) // opens the index once
	started   time.Time
}

// maxOutside bounds what Outside returns.
const maxOutside = 200

// Start has a configuration recorded. In mode off there is no record, and Start returns nil; a nil Record does nothing.
func (r *Recorder) Start(ctx context.Context, c *jail.Config, s Subject) (*Record, error) {
	if !c.Mode.Filtered() {
		return nil, nil
	}
	rec := &Record{recorder: r, subject: s, started: time.Now(), owners: func() (observe.Owners, error) { return nil, nil }}
	if r.Owners != nil && !s.Unowned {
		rec.owners = sync.OnceValues(func() (observe.Owners, error) { return r.Owners(ctx) })
	}
	if c.Mode == policies.ModeLog {
		go rec.owners() // they will be asked, and the jail takes time to start; Finish waits for it
	}
	o := observe.Options{Mode: c.Mode, Table: c.Mounts, Host: r.Host, Rules: r.Rules, Spill: spillIn(c.Scratch.Dir)}
	for _, p := range s.View.Paths {
		o.Paths = append(o.Paths, p.Path)
	}
	if s.Allowed != "" {
		root, err := unix.Open(s.Allowed, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, &os.PathError{Op: "open", Path: s.Allowed, Err: err}
		}
		rec.whitelist = &treeWhitelist{root: root}
		o.Whitelist = rec.whitelist
	}
	rec.log = observe.NewLog(o, rec.started)
	c.Log = rec.log
	return rec, nil
}

// spillIn makes files without a name in a directory that the jail cannot see.
func spillIn(dir string) func() (observe.Temporary, error) {
	return func() (observe.Temporary, error) {
		f, err := os.CreateTemp(dir, "spill-")
		if err != nil {
			return nil, err
		}
		return f, os.Remove(f.Name())
	}
}

// treeWhitelist is the file list of the whitelisted packages, as a composed tree has it.
type treeWhitelist struct{ root int }

// Has implements observe.Whitelist.
func (t *treeWhitelist) Has(p string) bool {
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	fd, err := observe.Openat2(t.root, path.Clean("."+p), &how)
	if err != nil {
		return false
	}
	unix.Close(fd)
	return true
}

// Event adds an event of the run.
func (r *Record) Event(name, path, detail string) {
	if r != nil {
		r.log.Event(name, path, detail)
	}
}

// Finish completes the record of a run that is over.
func (r *Record) Finish(name string, mode policies.Mode, result jail.Result) (err error) {
	if r == nil {
		return nil
	}
	if result.Survivors > 0 {
		r.log.Event("survivor:killed", "", fmt.Sprintf("outlived the command: %d", result.Survivors))
	}
	if result.Stopped != "" {
		r.log.Event(stopEvent(result.Stopped), "", "")
	}
	h := audit.Header{Name: name, Derivation: r.subject.Derivation, Mode: string(mode), PolicyDigest: r.subject.View.Policy.Digest(mode, r.recorder.Degraded),
		System: r.recorder.System, Kernel: r.recorder.Kernel, Start: r.started.UTC(), Duration: result.Wall, Exit: result.Exit,
		Command: r.subject.Command, Whitelist: r.subject.Whitelist,
		Enforced: audit.Enforced(result.Enforced), Degradations: r.recorder.Degraded}
	if r.Header, err = r.log.Header(h); err != nil {
		return err
	}
	if r.Processes, err = r.log.Processes(); err != nil {
		return err
	}
	v := r.Header.Counters.Verdicts
	if v[policies.Hidden]+v[policies.Leaked]+v[policies.Unknown]+v[policies.Denied] == 0 {
		return nil
	}
	if r.Notable, err = notable(r.Accesses()); err != nil {
		return err
	}
	r.Outside, r.OutsidePaths, err = Outside((&audit.Audit{Accesses: r.Notable}).All)
	return err
}

// maxNotable bounds Record.Notable.
const maxNotable = 20_000

func notable(accesses iter.Seq2[audit.Access, error]) (list []audit.Access, err error) {
	for a, err := range accesses {
		if err != nil {
			return nil, err
		}
		if (a.Outside() || a.Verdict == policies.Denied) && len(list) < maxNotable {
			list = append(list, a)
		}
	}
	return list, nil
}

// Digest is the audit with only what is notable of its accesses.
func (r *Record) Digest() *audit.Audit {
	return &audit.Audit{Header: r.Header, Processes: r.Processes, Accesses: r.Notable, Events: r.log.Events(), Output: r.Output}
}

// Outside picks the first entries outside the whitelist and counts the paths of all of them.
func Outside(accesses iter.Seq2[audit.Access, error]) (first []audit.Access, paths int, err error) {
	seen := map[string]bool{}
	for a, err := range accesses {
		if err != nil {
			return nil, 0, err
		}
		if !a.Outside() {
			continue
		}
		seen[a.Path] = true
		if len(first) < maxOutside {
			first = append(first, a)
		}
	}
	return first, len(seen), nil
}

func stopEvent(stopped string) string {
	if stopped == "wall" || stopped == "silence" {
		return "timeout:" + stopped
	}
	return "limit:" + stopped
}

// Accesses returns the entries in the order of the audit. It may be called again.
func (r *Record) Accesses() iter.Seq2[audit.Access, error] {
	return func(yield func(audit.Access, error) bool) {
		owners, err := r.owners()
		if err != nil {
			yield(audit.Access{}, err)
			return
		}
		r.log.Accesses(owners)(yield)
	}
}

// WriteUnfinished writes, as a document, the audit of a run whose end nobody sees.
func (r *Record) WriteUnfinished(w io.Writer, name string, mode policies.Mode) error {
	a := audit.Audit{Header: audit.Header{Name: name, Derivation: r.subject.Derivation, Mode: string(mode), System: r.recorder.System,
		Kernel: r.recorder.Kernel, Recorded: "all", Start: r.started.UTC(), Command: r.subject.Command, Whitelist: r.subject.Whitelist,
		IncompleteReasons: []string{"hdjail was killed, or has not ended yet"}}}
	return a.WriteDocument(w)
}

// Write writes the audit's file.
func (r *Record) Write(w io.Writer) error {
	return audit.Write(w, r.Header, r.Processes, r.Accesses(), audit.Rest{Events: r.log.Events(), Output: r.Output})
}

// WriteDocument writes the audit's document.
func (r *Record) WriteDocument(w io.Writer) error {
	return audit.WriteDocument(w, r.Header, r.Processes, r.Accesses(), audit.Rest{Events: r.log.Events(), Output: r.Output})
}

// Release gives back what the record holds. A nil Record holds nothing.
func (r *Record) Release() error {
	if r == nil {
		return nil
	}
	if r.whitelist != nil {
		unix.Close(r.whitelist.root)
		r.whitelist = nil
	}
	return r.log.Release()
}

// Whitelist describes what a view allows, for the header.
func Whitelist(v jailplan.View, requested []string, packages []audit.Owner) audit.Whitelist {
	w := audit.Whitelist{Requested: slices.Clone(requested), Packages: packages}
	for _, p := range v.Paths {
		if p.Writable {
			w.Writable = append(w.Writable, p.Path)
		} else {
			w.Paths = append(w.Paths, p.Path)
		}
	}
	for _, d := range v.Dependencies {
		if !d.Many {
			w.Dependencies = append(w.Dependencies, d.Public)
		}
	}
	return w
}
