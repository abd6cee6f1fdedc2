package profile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"hdjail/profile/links"
)

// Names in the directory of a profile. newTree and newLink are leftovers when nobody holds the lock.
const (
	current     = "current"
	generations = "generations"
	lock        = "lock"
	tree        = "tree"
	record      = "generation.json"
	newTree     = generations + "/.new"
	newLink     = ".current"
)

// dir is the opened directory of one profile, with its lock when it was opened to be changed.
type dir struct {
	name, path string
	root       *os.Root
	lock       *os.File
}

func (d *dir) close() {
	if d.lock != nil {
		d.lock.Close()
	}
	d.root.Close()
}

// open opens a profile for reading.
func (p *Profiles) open(name string) (*dir, error) {
	if err := checkName("profile", name); err != nil {
		return nil, err
	}
	parent, err := os.OpenRoot(p.Dir)
	if err == nil {
		defer parent.Close()
		d := &dir{name: name, path: filepath.Join(p.Dir, name)}
		if d.root, err = parent.OpenRoot(name); err == nil {
			return d, nil
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &NotFoundError{name, ""}
	}
	return nil, fmt.Errorf("open profile %q: %w", name, err)
}

// change opens a profile, makes it if create is set, locks it, and sweeps what an interrupted change left.
func (p *Profiles) change(ctx context.Context, name string, create bool) (*dir, error) {
	if create && checkName("profile", name) == nil {
		if err := os.MkdirAll(filepath.Join(p.Dir, name, generations), 0o755); err != nil {
			return nil, err
		}
	}
	d, err := p.open(name)
	if err != nil {
		return nil, err
	}
	if err = d.hold(ctx, p.Holder, p.Wait); err == nil {
		err = d.sweep()
	}
	if err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

// hold takes the lock, or gives up after wait. Closing the file lets go of it, and so does the end of the process.
func (d *dir) hold(ctx context.Context, holder string, wait time.Duration) (err error) {
	if d.lock, err = d.root.OpenFile(lock, os.O_RDWR|os.O_CREATE, 0o644); err != nil {
		return err
	}
	deadline := time.After(wait)
	for {
		err := unix.Flock(int(d.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			_, err = d.lock.WriteAt([]byte(holder+"\n"), 0)
			return errors.Join(err, d.lock.Truncate(int64(len(holder)+1)))
		}
		if err != unix.EWOULDBLOCK && err != unix.EINTR {
			return fmt.Errorf("lock profile %q: %w", d.name, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-deadline:
			text, err := io.ReadAll(io.LimitReader(d.lock, 200))
			return errors.Join(&BusyError{d.name, strings.TrimSpace(string(text))}, err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// sweep removes what an interrupted change left. Only the holder of the lock calls it.
func (d *dir) sweep() error { return errors.Join(d.root.RemoveAll(newTree), d.root.RemoveAll(newLink)) }

// current returns the number of the current generation, 0 for none.
func (d *dir) current() (int, error) {
	text, err := d.root.Readlink(current)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	n := number(path.Base(path.Dir(text)))
	if err == nil && (n == 0 || text != treeOf(n)) {
		err = fmt.Errorf("read profile %q: its link leads to %q", d.name, text)
	}
	return n, err
}

// generation reads generation n, and 0 stands for the current one.
func (d *dir) generation(n int) (Generation, error) {
	if n == 0 {
		now, err := d.current()
		if err == nil && now == 0 {
			err = &NotFoundError{d.name, "any generation"}
		}
		if err != nil {
			return Generation{}, err
		}
		n = now
	}
	f, err := d.root.Open(path.Join(generations, strconv.Itoa(n), record))
	if errors.Is(err, fs.ErrNotExist) {
		return Generation{}, &NotFoundError{d.name, fmt.Sprintf("generation %d", n)}
	}
	if err != nil {
		return Generation{}, err
	}
	defer f.Close()
	g, err := readGeneration(f)
	if err == nil && g.Number != n {
		err = fmt.Errorf("it is that of generation %d", g.Number)
	}
	if err != nil {
		return Generation{}, fmt.Errorf("read generation %d of profile %q: %w", n, d.name, err)
	}
	return g, nil
}

// numbers lists the numbers that were used, ascending.
func (d *dir) numbers() ([]int, error) {
	entries, err := fs.ReadDir(d.root.FS(), generations)
	var numbers []int
	for _, e := range entries {
		if n := number(e.Name()); n > 0 {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers, err
}

// build makes the whole of a generation under a temporary name.
func (d *dir) build(ctx context.Context, g Generation) error {
	in := links.Input{Dir: path.Join(d.path, treeOf(g.Number)), Native: true}
	for _, a := range g.Artifacts {
		root, err := os.OpenRoot(a.Out)
		if err != nil {
			return fmt.Errorf("link %q: %w", a.Name, err)
		}
		defer root.Close()
		set := links.Set{Owner: strings.TrimSpace(a.Name + " " + a.Version), Rules: a.Links, Tree: links.Dir{Root: root}, Dir: a.Out}
		if set.Rules == nil {
			set.Rules = links.Everything()
		}
		in.Sets = append(in.Sets, set)
	}
	plan, err := links.Plan(in)
	if err != nil {
		return err
	}
	for _, name := range []string{newTree, newTree + "/" + tree} {
		if err := errors.Join(d.root.Mkdir(name, 0o755), d.root.Chmod(name, 0o755)); err != nil {
			return err
		}
	}
	f, err := d.root.Open(newTree + "/" + tree)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := links.Apply(ctx, f, in.Dir, plan); err != nil {
		return err
	}
	data, err := g.encode()
	if err == nil {
		err = d.write(path.Join(newTree, record), data)
	}
	return errors.Join(err, f.Sync(), d.sync(newTree))
}

// register gives the generation that was built its number.
func (d *dir) register(n int) error {
	err := d.root.Rename(newTree, path.Join(generations, strconv.Itoa(n)))
	return errors.Join(err, d.sync(generations))
}

// point makes generation n current, by one rename.
func (d *dir) point(n int) error {
	err := d.root.Symlink(treeOf(n), newLink)
	if err == nil {
		err = d.root.Rename(newLink, current)
	}
	return errors.Join(err, d.sync("."))
}

// write makes a file that did not exist, durably.
func (d *dir) write(name string, data []byte) error {
	f, err := d.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
}

// sync makes the entries of a directory durable.
func (d *dir) sync(name string) error {
	f, err := d.root.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func treeOf(n int) string { return path.Join(generations, strconv.Itoa(n), tree) }

// number reads a number from 1 in the one form that is written; anything else is 0.
func number(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || strconv.Itoa(n) != text {
		return 0
	}
	return n
}
