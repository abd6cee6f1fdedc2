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
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"hdjail/profile/links"
)

// Names in the directory of a profile. Those with a dot are leftovers when nobody holds the lock.
const (
	current     = "current"
	generations = "generations"
	last        = "last"
	lock        = "lock"
	tree        = "tree"
	record      = "generation.json"
	newTree     = ".new"
	newLink     = ".current"
	newLast     = ".last"
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
	d := &dir{name: name, path: filepath.Join(p.Dir, name)}
	parent, err := os.OpenRoot(p.Dir)
	if err == nil {
		defer parent.Close()
		d.root, err = parent.OpenRoot(name)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &NotFoundError{name, "profile"}
	}
	return d, err
}

// change opens a profile, made if create is set, locks it, and sweeps what an interrupted change left.
func (p *Profiles) change(ctx context.Context, name string, create bool) (*dir, error) {
	if err := checkName("profile", name); err != nil {
		return nil, err
	}
	if create {
		if err := os.MkdirAll(filepath.Join(p.Dir, name, generations), 0o755); err != nil {
			return nil, err
		}
	}
	d, err := p.open(name)
	if err != nil {
		return nil, err
	}
	if err = d.owned(); err == nil {
		err = d.hold(ctx, p.Holder, p.Wait)
	}
	if err == nil {
		err = d.sweep()
	}
	if err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

// owned refuses a directory that another user made and could change while we work in it.
func (d *dir) owned() error {
	info, err := d.root.Stat(".")
	if err != nil {
		return err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() {
		return &OwnerError{d.path, int(st.Uid)}
	}
	return nil
}

// hold takes the lock, or gives up after wait with the name of its holder. Closing the file lets go, also when we die.
func (d *dir) hold(ctx context.Context, holder string, wait time.Duration) error {
	f, err := d.root.OpenFile(lock, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	deadline := time.NewTimer(wait)
	defer deadline.Stop()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			d.lock = f
			return d.sign(holder)
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			f.Close()
			return fmt.Errorf("lock profile %q: %w", d.name, err)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return ctx.Err()
		case <-deadline.C:
			defer f.Close()
			text, _ := io.ReadAll(io.LimitReader(f, 200))
			return &BusyError{d.name, strings.TrimSpace(string(text))}
		case <-again.C:
		}
	}
}

// sign writes into the lock who holds it.
func (d *dir) sign(holder string) error {
	if err := d.lock.Truncate(0); err != nil {
		return err
	}
	_, err := d.lock.WriteAt([]byte(holder+"\n"), 0)
	return err
}

// sweep removes what an interrupted change left. Only the holder of the lock calls it.
func (d *dir) sweep() error {
	return errors.Join(d.root.RemoveAll(path.Join(generations, newTree)), d.root.RemoveAll(newLink), d.root.RemoveAll(newLast))
}

// current returns the number of the current generation, 0 for none.
func (d *dir) current() (int, error) {
	text, err := d.root.Readlink(current)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	n, ok := number(strings.TrimSuffix(strings.TrimPrefix(text, generations+"/"), "/"+tree))
	if !ok || text != linkText(n) {
		return 0, fmt.Errorf("read profile %q: its link leads to %q", d.name, text)
	}
	return n, nil
}

func (d *dir) currentGeneration() (Generation, error) {
	n, err := d.current()
	if err != nil || n == 0 {
		return Generation{}, err
	}
	return d.generation(n)
}

// generation reads generation n.
func (d *dir) generation(n int) (Generation, error) {
	if n < 1 {
		return Generation{}, &NotFoundError{d.name, "an earlier generation"}
	}
	what := "generation " + strconv.Itoa(n)
	f, err := d.root.Open(path.Join(generations, strconv.Itoa(n), record))
	if errors.Is(err, fs.ErrNotExist) {
		return Generation{}, &NotFoundError{d.name, what}
	}
	if err != nil {
		return Generation{}, err
	}
	defer f.Close()
	g, err := readGeneration(f)
	if err == nil && g.Number != n {
		err = &RecordError{"it is that of generation " + strconv.Itoa(g.Number)}
	}
	if err != nil {
		return Generation{}, fmt.Errorf("read %s of profile %q: %w", what, d.name, err)
	}
	return g, nil
}

// numbers lists the generations that exist, ascending.
func (d *dir) numbers() ([]int, error) {
	f, err := d.root.Open(generations)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	var numbers []int
	for _, name := range names {
		if n, ok := number(name); ok {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers, err
}

// next reserves the number of a new generation: one that no generation ever had, also none that was deleted.
func (d *dir) next(now int) (int, error) {
	numbers, err := d.numbers()
	if err != nil {
		return 0, err
	}
	text, err := d.root.ReadFile(last)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	used, _ := number(strings.TrimSpace(string(text)))
	n := slices.Max(append(numbers, now, used)) + 1
	if err := d.write(newLast, []byte(strconv.Itoa(n)+"\n")); err != nil {
		return 0, err
	}
	return n, d.root.Rename(newLast, last)
}

// build makes the whole of a generation under a temporary name.
func (d *dir) build(ctx context.Context, g Generation) error {
	plan, done, err := d.plan(g)
	if err != nil {
		return err
	}
	defer done()
	dir := path.Join(generations, newTree)
	if err := d.root.MkdirAll(path.Join(dir, tree), 0o755); err != nil {
		return err
	}
	f, err := d.root.Open(path.Join(dir, tree))
	if err != nil {
		return err
	}
	defer f.Close()
	if err := links.Apply(ctx, f, d.treePath(g.Number), plan); err != nil {
		return err
	}
	data, err := g.encode()
	if err != nil {
		return err
	}
	if err := d.write(path.Join(dir, record), data); err != nil {
		return err
	}
	return d.sync(path.Join(dir, tree), dir)
}

// plan decides the links of a generation. done closes the artifacts, after the plan was applied.
func (d *dir) plan(g Generation) (plan links.Actions, done func(), err error) {
	in := links.Input{Dir: d.treePath(g.Number), Native: true}
	var roots []*os.Root
	done = func() {
		for _, root := range roots {
			root.Close()
		}
	}
	for _, a := range g.Artifacts {
		root, err := os.OpenRoot(a.Out)
		if err != nil {
			done()
			return links.Actions{}, nil, fmt.Errorf("link %q: %w", a.Name, err)
		}
		roots = append(roots, root)
		rules := a.Links
		if rules == nil {
			rules = links.Everything()
		}
		owner := strings.TrimSpace(a.Name + " " + a.Version)
		in.Sets = append(in.Sets, links.Set{Owner: owner, Rules: rules, Tree: links.Dir{Root: root}, Dir: a.Out})
	}
	if plan, err = links.Plan(in); err != nil {
		done()
		return links.Actions{}, nil, err
	}
	return plan, done, nil
}

// register gives the generation that was built its number.
func (d *dir) register(n int) error {
	if err := d.root.Rename(path.Join(generations, newTree), path.Join(generations, strconv.Itoa(n))); err != nil {
		return err
	}
	return d.sync(generations)
}

// point makes generation n current, by one rename.
func (d *dir) point(n int) error {
	if err := d.root.Symlink(linkText(n), newLink); err != nil {
		return err
	}
	if err := d.root.Rename(newLink, current); err != nil {
		return err
	}
	return d.sync(".")
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

// sync makes the entries of directories durable.
func (d *dir) sync(names ...string) error {
	for _, name := range names {
		f, err := d.root.Open(name)
		if err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return err
		}
	}
	return nil
}

func (d *dir) treePath(n int) string { return path.Join(d.path, linkText(n)) }

func linkText(n int) string { return path.Join(generations, strconv.Itoa(n), tree) }

// number reads a number from 1, in the one form that is written.
func number(text string) (int, bool) {
	n, err := strconv.Atoi(text)
	return n, err == nil && n > 0 && strconv.Itoa(n) == text
}
