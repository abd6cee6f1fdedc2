package usage

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"hdjail/artifact"
)

// Source is the store that an index is of.
type Source interface {
	// List returns the realizations that there are.
	List() ([]artifact.RealizationID, error)
	// Facts reads one. It is called by several goroutines. One that cannot be read is not indexed, and tried again next time.
	Facts(ctx context.Context, id artifact.RealizationID) (Facts, error)
}

// Options say how an index is opened.
type Options struct {
	// Dir is a directory of the index's own, empty for memory only. It is made if it is not there.
	Dir string
	// Reading, when not nil, is called before realizations are read, with their number.
	Reading func(count int)
	// Failed, when not nil, is told why something is missing or was not kept. Calls do not overlap.
	Failed func(err error)
}

// Index is an open index, as of when it was opened. Safe for concurrent use.
type Index struct {
	segments []*segment
	// home is the segment that answers for a realization. Two processes may have made two.
	home map[artifact.RealizationID]*segment
}

// maxSegments is how many there may be before small ones are joined.
const maxSegments = 8

// Open brings the index up to date with the store and opens it. What cannot be written or read of the cache is no error: the
// answer comes from the store then, which takes longer.
func Open(ctx context.Context, source Source, o Options) (*Index, error) {
	if o.Failed == nil {
		o.Failed = func(error) {}
	}
	ids, err := source.List()
	if err != nil {
		return nil, fmt.Errorf("index the store: %w", err)
	}
	d := directory{dir: o.Dir}
	if err := d.read(); err != nil {
		o.Failed(fmt.Errorf("read index: %w", err))
	}
	x, live := &Index{home: make(map[artifact.RealizationID]*segment, len(ids))}, make(map[artifact.RealizationID]bool, len(ids))
	known := d.realizations()
	var missing []artifact.RealizationID
	for _, id := range ids {
		live[id] = true
		if !known[id] {
			missing = append(missing, id)
		}
	}
	if len(missing) > 0 {
		if err := d.extend(ctx, source, missing, o); err != nil {
			return nil, fmt.Errorf("index the store: %w", err)
		}
	}
	if err := d.compact(live, len(known)+len(missing)-len(ids)); err != nil {
		o.Failed(fmt.Errorf("keep index: %w", err))
	}
	for _, f := range d.files {
		x.segments = append(x.segments, f.segment)
		for _, a := range f.artifacts {
			if live[a.Realization] {
				x.home[a.Realization] = f.segment
			}
		}
	}
	return x, nil
}

// directory is the segments of an index, on disk and in memory.
type directory struct {
	dir   string
	files []file
}

// file is a segment with its name, empty for one that could not be kept.
type file struct {
	name string
	size int
	*segment
}

const suffix = ".segment"

// read opens all segments. A damaged one is removed.
func (d *directory) read() error {
	if d.dir == "" {
		return nil
	}
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		return err
	}
	for range 3 { // another process may join segments meanwhile
		d.files = nil
		entries, err := os.ReadDir(d.dir)
		if err != nil {
			return err
		}
		gone := false
		for _, e := range entries {
			if !strings.HasSuffix(e.Name(), suffix) {
				continue
			}
			name := filepath.Join(d.dir, e.Name())
			data, err := os.ReadFile(name)
			if gone = gone || errors.Is(err, fs.ErrNotExist); err != nil {
				continue
			}
			s, err := openSegment(data)
			if err != nil {
				_ = os.Remove(name) // it is made again
				continue
			}
			d.files = append(d.files, file{name: name, size: len(data), segment: s})
		}
		if !gone {
			break
		}
	}
	return nil
}

func (d *directory) realizations() map[artifact.RealizationID]bool {
	set := map[artifact.RealizationID]bool{}
	for _, f := range d.files {
		for _, a := range f.artifacts {
			set[a.Realization] = true
		}
	}
	return set
}

// batch is how many realizations are read for one segment, so that what was read is kept if the rest is interrupted.
const batch = 250

// extend adds segments for realizations.
func (d *directory) extend(ctx context.Context, source Source, missing []artifact.RealizationID, o Options) error {
	if o.Reading != nil {
		o.Reading(len(missing))
	}
	for chunk := range slices.Chunk(missing, batch) {
		facts, errs := make([]Facts, len(chunk)), make([]error, len(chunk))
		group, ctx := errgroup.WithContext(ctx)
		group.SetLimit(runtime.GOMAXPROCS(0))
		for i, id := range chunk {
			group.Go(func() error {
				facts[i], errs[i] = source.Facts(ctx, id)
				return ctx.Err()
			})
		}
		if err := group.Wait(); err != nil {
			return err
		}
		b := newBuilder()
		for i, f := range facts {
			switch {
			case errs[i] == nil:
				b.add(f)
			case !errors.Is(errs[i], fs.ErrNotExist): // removed meanwhile
				o.Failed(fmt.Errorf("read realization %s: %w", chunk[i], errs[i]))
			}
		}
		if len(b.artifacts) == 0 {
			continue
		}
		if err := d.keep(b); err != nil {
			o.Failed(fmt.Errorf("keep index: %w", err))
		}
	}
	return nil
}

// keep opens what was built, and writes it if there is a directory. Only a failure of writing is returned.
func (d *directory) keep(b *builder) error {
	data, err := b.bytes()
	if err != nil {
		return err
	}
	s, err := openSegment(data)
	if err != nil {
		return err
	}
	f := file{size: len(data), segment: s}
	if d.dir != "" {
		f.name, err = d.write(data)
	}
	d.files = append(d.files, f)
	return err
}

// write makes a segment appear whole. Its name tells its content, so two processes that write one write the same.
func (d *directory) write(data []byte) (string, error) {
	temp, err := os.CreateTemp(d.dir, "new-*")
	if err != nil {
		return "", err
	}
	defer os.Remove(temp.Name())
	_, err = temp.Write(data)
	if err = errors.Join(err, temp.Close()); err != nil {
		return "", err
	}
	name := filepath.Join(d.dir, fmt.Sprintf("%08x-%d%s", crc32.Checksum(data, castagnoli), len(data), suffix))
	return name, os.Rename(temp.Name(), name)
}

// compact joins segments if there are many, or if most of what they have is gone.
func (d *directory) compact(live map[artifact.RealizationID]bool, dead int) error {
	all := dead > 16 && dead > len(live)
	if len(d.files) <= maxSegments && !all {
		return nil
	}
	slices.SortFunc(d.files, func(a, b file) int { return b.size - a.size })
	sum := 0
	for _, f := range d.files[1:] {
		sum += f.size
	}
	from := 1
	if all || 2*sum > d.files[0].size {
		from = 0
	}
	joinable := d.files[from:]
	b, seen := newBuilder(), map[artifact.RealizationID]bool{}
	for _, f := range joinable {
		b.join(f.segment, func(id artifact.RealizationID) bool {
			fresh := live[id] && !seen[id]
			seen[id] = true
			return fresh
		})
	}
	kept := directory{dir: d.dir, files: slices.Clone(d.files[:from])}
	if len(b.artifacts) > 0 {
		if err := kept.keep(b); err != nil {
			return err
		}
	}
	for _, f := range joinable {
		if f.name != "" && !slices.ContainsFunc(kept.files, func(k file) bool { return k.name == f.name }) {
			_ = os.Remove(f.name) // the next one that joins tries again
		}
	}
	d.files = kept.files
	return nil
}
