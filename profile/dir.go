package profile

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"hdjail/artifact/lease"
	"hdjail/profile/links"
)

// Names in the directory of a profile.
const (
	current     = "current"
	generations = "generations"
	lock        = "lock"
	tree        = "tree"
	record      = "generation.json"
	leftover    = ".new-" // begins what is temporary
	holdLock    = ".lock" // beside the profiles
)

// dir is the opened directory of one profile. One that was opened to be changed is locked and has a temporary name, which
// is new each time: if two ever believed that they hold the lock, one would fail and neither would mix with the other.
type dir struct {
	name, path string
	root       *os.Root
	self       lease.Holder
	lock       *lease.Lock
	temp       string
}

func (d *dir) close() {
	if d.lock != nil {
		_ = d.lock.Release() // a lock that stays is stale as soon as this process ends
	}
	d.root.Close()
}

// discard closes a profile after a failure, and removes it unless it has a generation. Who waits for the lock then finds
// that it is gone, and makes it again.
func (d *dir) discard() {
	_ = d.root.Remove(generations) // only what is empty is removed, here and below
	d.close()
	_ = syscall.Rmdir(d.path)
}

// open opens a profile for reading.
func (p *Profiles) open(name string) (*dir, error) {
	if err := checkName("profile", name); err != nil {
		return nil, err
	}
	d := &dir{name: name, path: filepath.Join(p.Dir, name)}
	parent, err := os.OpenRoot(p.Dir)
	if err == nil {
		defer parent.Close()
		d.root, err = parent.OpenRoot(name)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &NotFoundError{name, ""}
	}
	return d, err
}

// attempts bounds how often a profile is made again that others, whose first link failed, have removed.
const attempts = 100

// change opens a profile, makes it if create is set, locks it, and sweeps what an interrupted change left.
func (p *Profiles) change(ctx context.Context, name string, create bool) (*dir, error) {
	if err := checkName("profile", name); err != nil {
		return nil, err
	}
	for attempt := 1; ; attempt++ {
		d, err := p.take(ctx, name, create)
		// MkdirAll says that it exists when it was there a moment ago.
		gone := errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrExist) || errors.As(err, new(*NotFoundError))
		if !create || !gone || attempt == attempts || ctx.Err() != nil {
			return d, err
		}
	}
}

func (p *Profiles) take(ctx context.Context, name string, create bool) (*dir, error) {
	if create {
		if err := os.MkdirAll(filepath.Join(p.Dir, name, generations), 0o755); err != nil {
			return nil, err
		}
	}
	d, err := p.open(name)
	if err != nil {
		return nil, err
	}
	d.self = p.Lock.Holder
	if d.lock, err = lease.Take(ctx, filepath.Join(d.path, lock), p.Lock); err == nil {
		err = d.sweep()
	}
	if err != nil {
		d.close()
		return nil, fmt.Errorf("change profile %q: %w", name, err)
	}
	d.temp = leftover + rand.Text()
	return d, nil
}

// sweep removes everything temporary. Only the holder of the lock calls it.
func (d *dir) sweep() error {
	for _, place := range []string{".", generations} {
		entries, err := fs.ReadDir(d.root.FS(), place)
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), leftover) || d.self.Abandoned(e.Name()) { // the latter is a lock that was set aside
				err = errors.Join(err, d.root.RemoveAll(path.Join(place, e.Name())))
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

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

// plan decides the links of a generation. The caller calls done, which is never nil, when it does not need the artifacts any more.
func (d *dir) plan(g Generation) (_ links.Actions, done func(), err error) {
	in := links.Input{Dir: path.Join(d.path, treeOf(g.Number)), Native: true}
	var opened []*os.Root
	done = func() {
		for _, root := range opened {
			root.Close()
		}
	}
	for _, a := range g.Artifacts {
		root, err := os.OpenRoot(a.Out)
		if err != nil {
			return links.Actions{}, done, fmt.Errorf("link %q: %w", a.Name, err)
		}
		opened = append(opened, root)
		set := links.Set{Owner: strings.TrimSpace(a.Name + " " + a.Version), Rules: a.Links, Tree: links.Dir{Root: root}, Dir: a.Out}
		if set.Rules == nil {
			set.Rules = links.Everything()
		}
		in.Sets = append(in.Sets, set)
	}
	plan, err := links.Plan(in)
	return plan, done, err
}

// build makes the whole of a generation under a temporary name.
func (d *dir) build(ctx context.Context, g Generation) error {
	plan, done, err := d.plan(g)
	defer done()
	if err != nil {
		return err
	}
	made := path.Join(generations, d.temp)
	for _, name := range []string{made, path.Join(made, tree)} {
		if err := errors.Join(d.root.Mkdir(name, 0o755), d.root.Chmod(name, 0o755)); err != nil {
			return err
		}
	}
	f, err := d.root.Open(path.Join(made, tree))
	if err != nil {
		return err
	}
	defer f.Close()
	if err := links.Apply(ctx, f, path.Join(d.path, treeOf(g.Number)), plan); err != nil {
		return err
	}
	data, err := g.encode()
	if err == nil {
		err = d.write(path.Join(made, record), data)
	}
	return errors.Join(err, unix.Syncfs(int(f.Fd()))) // however many directories it has
}

// register gives the generation that was built its number.
func (d *dir) register(n int) error {
	err := d.root.Rename(path.Join(generations, d.temp), path.Join(generations, strconv.Itoa(n)))
	return errors.Join(err, d.sync(generations))
}

// point makes generation n current, by one rename. With the first one the profile itself has to last.
func (d *dir) point(n int) error {
	err := d.root.Symlink(treeOf(n), d.temp)
	if err == nil {
		err = d.root.Rename(d.temp, current)
	}
	if err == nil && n == 1 {
		err = syncAndClose(os.Open(filepath.Dir(d.path)))
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
func (d *dir) sync(name string) error { return syncAndClose(d.root.Open(name)) }

func syncAndClose(f *os.File, err error) error {
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
