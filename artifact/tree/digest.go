package tree

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"sync"

	"github.com/zeebo/blake3"
	"golang.org/x/sys/unix"

	"hdjail/artifact"
)

// Options change how Digest treats a tree. The zero value only reads.
type Options struct {
	// Unlock makes directories and files accessible whose mode keeps their owner out.
	Unlock bool
	// Visit is called for every entry, the root first, before it is opened; its error ends the run.
	Visit func(*Node) error
	// Settle is called once for every entry after it was read, in any order and from several goroutines, with the Node's
	// FD on the file or directory; a link has none. The root comes first. It may change mode, owner and times.
	Settle func(*Node) error
	// Workers is how many files are hashed at once, 2 when 0.
	Workers int
}

// Stats count what a tree holds.
type Stats struct {
	Files int64 // regular files, a hard link counted each time
	Bytes int64 // their content
	Names int64 // all entries
}

const (
	// ahead bounds the files that are open and wait to be hashed.
	ahead = 32
	block = 256 << 10
	// A tree with a few small files is hashed sooner than workers are started.
	fewFiles  = 16
	smallFile = 64 << 10
)

// Digest returns the digest of the tree below the directory root, which stays open. Files are hashed in parallel and in
// pieces, so neither big nor many files cost memory. What no tree can hold, and a file that changes while it is read,
// gives *RefusedError.
func Digest(ctx context.Context, root *os.File, o Options) (artifact.TreeDigest, Stats, error) {
	d := digester{ctx: ctx, options: o, encoder: NewEncoder(nil)}
	err := walk(ctx, root, o.Unlock, d.visit, d.settle)
	if err == nil {
		err = d.drain(0)
	}
	d.stop()
	if err != nil {
		return artifact.TreeDigest{}, Stats{}, err
	}
	digest, err := d.encoder.Sum()
	return digest, d.stats, err
}

// DigestPath is Digest of the directory at path, which only reads. The path may be a link, the tree's root is where it
// leads.
func DigestPath(ctx context.Context, path string) (artifact.TreeDigest, error) {
	root, err := os.Open(path)
	if err != nil {
		return artifact.TreeDigest{}, err
	}
	defer root.Close()
	digest, _, err := Digest(ctx, root, Options{})
	return digest, err
}

// digester is one run of Digest. The walk makes a job of each entry; workers do those of files; the walk encodes them
// in order when they are done.
type digester struct {
	ctx     context.Context
	options Options
	encoder *Encoder
	stats   Stats
	queue   []*job // in the order of the encoding
	own     hasher
	small   int // files that the walk hashed itself
	jobs    chan *job
	workers sync.WaitGroup
}

type job struct {
	node  Node
	entry Entry
	done  chan struct{} // nil for what needs no worker
	err   error
}

func (d *digester) visit(n *Node) error {
	if d.options.Visit != nil {
		if err := d.options.Visit(n); err != nil {
			return err
		}
	}
	if n.Path == "" {
		return nil
	}
	j := &job{node: *n, entry: Entry{Path: n.Path, Kind: n.Kind, Target: n.Target}}
	switch {
	case n.Kind == Link:
		j.err = d.settle(n)
	case n.Kind == Directory:
	case n.Stat.Nlink > 1:
		// Another name of the file may be in a worker's hands, and settling it would look like a change.
		if err := d.drain(0); err != nil {
			return err
		}
		j.err = d.hash(j)
	case d.small < fewFiles && n.Stat.Size <= smallFile:
		d.small++
		j.err = d.hash(j)
	default:
		if err := j.node.open(d.options.Unlock); err != nil {
			return err
		}
		j.done = make(chan struct{})
		d.start()
		d.jobs <- j
	}
	d.queue = append(d.queue, j)
	return d.drain(ahead)
}

func (d *digester) settle(n *Node) error {
	if d.options.Settle == nil {
		return nil
	}
	return d.options.Settle(n)
}

// drain encodes the oldest jobs until at most keep are left.
func (d *digester) drain(keep int) error {
	for len(d.queue) > keep {
		j := d.queue[0]
		if j.done != nil {
			<-j.done
		}
		if j.err != nil {
			return j.err
		}
		if err := d.encoder.Add(j.entry); err != nil {
			return err
		}
		d.stats.Names++
		if j.entry.Kind == File || j.entry.Kind == Executable {
			d.stats.Files++
			d.stats.Bytes += j.entry.Size
		}
		d.queue = d.queue[1:]
	}
	return nil
}

// hash does the job of a file in the walk.
func (d *digester) hash(j *job) error {
	if err := j.node.open(d.options.Unlock); err != nil {
		return err
	}
	return d.own.run(d, j)
}

func (d *digester) start() {
	if d.jobs != nil {
		return
	}
	d.jobs = make(chan *job, ahead)
	for range cmp.Or(d.options.Workers, 2) {
		d.workers.Go(func() {
			var h hasher
			for j := range d.jobs {
				j.err = h.run(d, j)
				close(j.done)
			}
		})
	}
}

// stop ends the workers, after the jobs that they were given.
func (d *digester) stop() {
	if d.jobs != nil {
		close(d.jobs)
		d.workers.Wait()
	}
}

// hasher hashes one file after the other.
type hasher struct {
	blake *blake3.Hasher
	buf   []byte
}

// prepare makes a buffer for a file of the size, so that small trees do not cost big ones.
func (h *hasher) prepare(size int64) {
	if h.blake == nil {
		h.blake = blake3.New()
	}
	h.blake.Reset()
	if want := int(min(size+1, block)); len(h.buf) < want {
		h.buf = make([]byte, max(want, 2*len(h.buf)))
	}
}

// run hashes the file of a job, settles and closes it.
func (h *hasher) run(d *digester, j *job) error {
	defer unix.Close(j.node.FD)
	before := &j.node.Stat
	h.prepare(before.Size)
	for {
		n, err := unix.Read(j.node.FD, h.buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return &fs.PathError{Op: "read", Path: j.entry.Path, Err: err}
		}
		if n == 0 {
			break
		}
		if err := d.ctx.Err(); err != nil {
			return err
		}
		h.blake.Write(h.buf[:n]) // never fails
		j.entry.Size += int64(n)
	}
	var after unix.Stat_t
	if err := unix.Fstat(j.node.FD, &after); err != nil {
		return &fs.PathError{Op: "stat", Path: j.entry.Path, Err: err}
	}
	if after.Size != before.Size || after.Mtim != before.Mtim || after.Ctim != before.Ctim || j.entry.Size != before.Size {
		return &RefusedError{j.entry.Path, "changed", "it changed while it was read"}
	}
	h.blake.Sum(j.entry.Content[:0])
	return d.settle(&j.node)
}
