package leaks

import (
	"cmp"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"hdjail/artifact/tree"
)

const (
	// ahead bounds the files that are open and wait to be searched.
	ahead = 32
	block = 256 << 10
	// A tree with a few small files is searched sooner than workers are started.
	fewFiles  = 16
	smallFile = 64 << 10
	// maxObjects and maxObjectBytes bound what is remembered of ELF files.
	maxObjects     = 1 << 18
	maxObjectBytes = 64 << 20
)

// Scan searches the tree below the directory dir, which stays open, and says what its files refer to. The tree is one that
// is not written to any more. It holds what a build made, so nothing in it is followed out of it, but for links into the
// trees that o names. Time and memory are bounded; what the bounds cut off is counted in Truncated. The report depends on
// the tree and on o alone, whatever the number of workers.
func Scan(ctx context.Context, dir *os.File, o Options) (Report, error) {
	o.Limits = o.Limits.complete()
	s := scanner{ctx: ctx, options: o, needles: newNeedles(o), view: newView(dir, o)}
	defer s.view.close()
	s.judge = newJudge(s.view, o)
	s.report = newReporter(o.Limits.List)
	s.own = s.newSearcher()
	err := tree.Walk(ctx, dir, false, s.visit)
	if err == nil {
		err = s.drain(0)
	}
	s.stop()
	if err == nil {
		err = s.resolve()
	}
	if err != nil {
		return Report{}, fmt.Errorf("search %q for leaks: %w", dir.Name(), err)
	}
	return s.report.finish(), nil
}

func (l Limits) complete() Limits {
	return Limits{
		List:      cmp.Or(l.List, 1000),
		TextBytes: cmp.Or(l.TextBytes, 4<<20), FileBytes: cmp.Or(l.FileBytes, 4<<30),
		FilePaths: cmp.Or(l.FilePaths, 4096),
	}
}

// scanner is one run of Scan. The walk makes a job of each file; workers do them; the walk judges what they found, in
// order.
type scanner struct {
	ctx     context.Context
	options Options
	needles *needles
	view    *view
	judge   *judge
	report  *reporter
	objects []*object
	kept    int // bytes of objects
	queue   []*job
	own     *searcher
	small   int // files that the walk searched itself
	jobs    chan *job
	workers sync.WaitGroup
}

// job is a file to search, and what was found in it.
type job struct {
	path        string
	fd          int
	size        int64
	done        chan struct{} // nil for what needs no worker
	err         error
	interpreter string // of a script, named at offset
	offset      int64
	text        bool
	object      *object
	malformed   error
	found       []sighting
	dropped     int
	searched    int64
	cut         bool // a text that was searched for host paths at its beginning only
}

func (s *scanner) visit(n *tree.Node) error {
	if n.Kind != tree.File && n.Kind != tree.Executable {
		return nil
	}
	j := &job{path: n.Path}
	if err := j.open(n); err != nil {
		return err
	}
	if s.small < fewFiles && j.size <= smallFile {
		s.small++
		j.err = s.own.run(s.ctx, j)
	} else {
		j.done = make(chan struct{})
		s.start()
		s.jobs <- j
	}
	s.queue = append(s.queue, j)
	return s.drain(ahead)
}

// open opens the file of a Node, whatever now has its name.
func (j *job) open(n *tree.Node) error {
	fd, err := unix.Openat(n.Dir, n.Name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &fs.PathError{Op: "open", Path: n.Path, Err: err}
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Ino != n.Stat.Ino || st.Dev != n.Stat.Dev {
		unix.Close(fd)
		return &tree.RefusedError{Path: n.Path, Kind: "changed", Detail: "another file took its name"}
	}
	j.fd, j.size = fd, st.Size
	return nil
}

func (s *scanner) start() {
	if s.jobs != nil {
		return
	}
	s.jobs = make(chan *job, ahead)
	for range cmp.Or(s.options.Workers, 2) {
		s.workers.Go(func() {
			searcher := s.newSearcher()
			for j := range s.jobs {
				j.err = searcher.run(s.ctx, j)
				close(j.done)
			}
		})
	}
}

// stop ends the workers, after the jobs that they were given.
func (s *scanner) stop() {
	if s.jobs != nil {
		close(s.jobs)
		s.workers.Wait()
	}
}

// drain takes what the oldest jobs found until at most keep are left.
func (s *scanner) drain(keep int) error {
	for len(s.queue) > keep {
		j := s.queue[0]
		if j.done != nil {
			<-j.done
		}
		if j.err != nil {
			return fmt.Errorf("read %q: %w", j.path, j.err)
		}
		s.take(j)
		s.queue = s.queue[1:]
	}
	return nil
}

// take judges what was found in a file.
func (s *scanner) take(j *job) {
	s.report.file(j)
	if j.interpreter != "" {
		s.report.reference(Reference{File: j.path, Kind: "shebang", Path: j.interpreter, Line: 1,
			Offset: j.offset, Count: 1, Origin: s.judge.interpreter(j.interpreter)})
	}
	kind := "binary"
	if j.text {
		kind = "text"
	}
	for _, found := range j.found {
		v := s.judge.reference(found.path)
		if !v.judged {
			s.report.Truncated.Paths += found.count
		}
		if v.told {
			s.report.reference(Reference{File: j.path, Kind: kind, Path: found.path, Line: found.line, Offset: found.offset,
				Count: found.count, Absent: v.absent, Origin: v.origin})
		}
	}
	if o := j.object; o != nil && (o.interpreter != "" || len(o.needed) > 0 || o.rpath != "" || o.runpath != "") {
		size := len(j.path) + o.size()
		if len(s.objects) == maxObjects || s.kept+size > maxObjectBytes {
			s.report.Truncated.ELF++
			return
		}
		o.file, s.kept = j.path, s.kept+size
		s.objects = append(s.objects, o)
	}
}

// resolve finds what the ELF files load. It needs all of them, since programs load the libraries beside them.
func (s *scanner) resolve() error {
	l, err := newLinker(s.judge, s.options, s.objects)
	if err != nil {
		return err
	}
	for i, o := range s.objects {
		if err := s.ctx.Err(); err != nil {
			return err
		}
		needs, runpaths, ok := l.object(o)
		for _, n := range needs {
			s.report.need(n)
		}
		for _, r := range runpaths {
			s.report.runpath(r)
		}
		if !ok {
			s.report.Truncated.ELF += len(s.objects) - i
			break
		}
	}
	return nil
}

// searcher searches one file after the other.
type searcher struct {
	finder
	limits Limits
	buf    []byte
}

func (s *scanner) newSearcher() *searcher {
	return &searcher{finder: finder{needles: s.needles, limit: s.options.Limits.FilePaths}, limits: s.options.Limits}
}

// run does a job and closes its file.
func (s *searcher) run(ctx context.Context, j *job) error {
	defer unix.Close(j.fd)
	s.reset()
	if want := int(min(j.size, block)); len(s.buf) < want {
		s.buf = make([]byte, max(want, min(2*len(s.buf), block)))
	}
	limit := min(j.size, s.limits.FileBytes)
	have, next := 0, 0
	for last := false; !last; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := fill(j.fd, s.buf[have:], limit-j.searched)
		if err != nil {
			return err
		}
		first := j.searched == 0
		have += n
		j.searched += int64(n)
		last = n == 0 || j.searched >= limit
		if first {
			next = s.begin(j, s.buf[:have])
		}
		next = s.search(s.buf[:have], next, last)
		if s.text && s.offset+int64(next) >= s.limits.TextBytes && !last {
			s.text, j.cut = false, true
		}
		keep := max(0, next-lookBack)
		have = copy(s.buf, s.buf[keep:have])
		s.offset += int64(keep)
		next -= keep
	}
	j.found, j.dropped = s.found, s.dropped
	return nil
}

// begin looks at the beginning of a file and returns where to search on.
func (s *searcher) begin(j *job, data []byte) (next int) {
	j.interpreter, next = shebang(data)
	j.offset = int64(next - len(j.interpreter))
	j.text = isText(data)
	s.text = j.text
	if len(data) < 4 || string(data[:4]) != elf.ELFMAG {
		return next
	}
	o, err := readObject(fileAt(j.fd))
	if err == nil && max(strings.Count(o.rpath, ":"), strings.Count(o.runpath, ":")) >= maxRunpath {
		err = fmt.Errorf("only the first %d entries of its RPATH and RUNPATH were looked at", maxRunpath)
	}
	j.object, j.malformed = &o, err
	return next
}

// fill reads until the buffer is full, or what is left of the file is in it.
func fill(fd int, buf []byte, left int64) (int, error) {
	buf = buf[:min(int64(len(buf)), max(left, 0))]
	have := 0
	for have < len(buf) {
		n, err := unix.Read(fd, buf[have:])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return have, err
		}
		if n == 0 {
			break
		}
		have += n
	}
	return have, nil
}

// fileAt reads an open file at offsets.
type fileAt int

// ReadAt implements io.ReaderAt.
func (fd fileAt) ReadAt(b []byte, offset int64) (int, error) {
	read := 0
	for read < len(b) {
		n, err := unix.Pread(int(fd), b[read:], offset+int64(read))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return read, err
		}
		if n == 0 {
			return read, io.EOF
		}
		read += n
	}
	return read, nil
}
