package hostpkgs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"hdjail/hostpkgs/rootpath"
)

// Show is Pin with what else there is to say about the closure. The result is shared: callers do not change it.
func (h *Host) Show(ctx context.Context, names []string) (Report, error) {
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	if len(names) == 0 {
		return Report{}, nil
	}
	if err := h.busy.take(ctx); err != nil {
		return Report{}, err
	}
	defer h.busy.giveBack()
	key := strings.Join(names, "\n")
	if report, ok := h.memo[key]; ok {
		return report, nil
	}
	report, err := h.pinCached(ctx, names)
	if err != nil {
		return Report{}, err
	}
	h.memo[key] = report
	return report, nil
}

// token is held by one goroutine at a time; its capacity is 1.
type token chan struct{}

func (t token) take(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for host packages: %w", ctx.Err())
	}
}

func (t token) giveBack() { <-t }

func (h *Host) pinCached(ctx context.Context, names []string) (Report, error) {
	database, err := h.cfg.Database.Fingerprint(ctx)
	if err != nil {
		return Report{}, err
	}
	file := h.cacheFile(hashOf(names...))
	var entry closureEntry
	if load(file, &entry) && h.current(entry, names, database) {
		return entry.Report, nil
	}
	h.names = rootpath.OnHost(h.cfg.Root)
	entry = closureEntry{Names: names, Database: database}
	if err := h.pinAll(ctx, &entry); err != nil {
		return Report{}, err
	}
	if now, err := h.cfg.Database.Fingerprint(ctx); err != nil || now != database {
		return Report{}, errors.Join(errors.New("pin host packages: packages were installed meanwhile, try again"), err)
	}
	if err := save(file, entry); err != nil {
		return Report{}, fmt.Errorf("pin host packages: %w", err)
	}
	return entry.Report, nil
}

// taken is a snapshot at dir. Until commit, a new one has no name of its own: key is then the cache entry that will
// record it, "" for a snapshot that is recorded already.
type taken struct {
	pin   Pinned
	dir   string
	key   string
	watch []stamp
}

// pinAll fills in entry.Report and entry.Watch from what is installed.
func (h *Host) pinAll(ctx context.Context, entry *closureEntry) error {
	installed, err := h.cfg.Database.Packages(ctx)
	if err != nil {
		return err
	}
	closure, unmet, err := Closure(installed, entry.Names)
	if err != nil {
		return h.suggest(ctx, err)
	}
	s, err := h.newScratch()
	if err != nil {
		return fmt.Errorf("pin host packages: %w", err)
	}
	defer s.remove()
	all, err := h.takeAll(ctx, closure, s.path)
	if err != nil {
		return err
	}
	links, err := h.takeLinks(ctx, all, filepath.Join(s.path, "links"))
	if err != nil {
		return err
	}
	all = append(all, links)
	entry.Report.Unmet = unmet
	for _, t := range all {
		entry.Watch = append(entry.Watch, t.watch...)
		entry.Report.Packages = append(entry.Report.Packages, t.pin)
	}
	slices.SortFunc(entry.Report.Packages, func(a, b Pinned) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Architecture, b.Architecture))
	})
	return h.commit(all)
}

// takeAll takes the snapshots of a closure that are missing, each in a folder of its own in dir.
func (h *Host) takeAll(ctx context.Context, closure []Package, dir string) ([]taken, error) {
	all := make([]taken, len(closure))
	var mu sync.Mutex
	done := 0
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, p := range closure {
		group.Go(func() (err error) {
			if all[i], err = h.take(ctx, p, filepath.Join(dir, strconv.Itoa(i))); err != nil {
				return fmt.Errorf("pin host package %q: %w", p.Name, err)
			}
			mu.Lock()
			defer mu.Unlock()
			done++
			if h.cfg.Progress != nil {
				h.cfg.Progress(done, len(closure), p.Name)
			}
			return nil
		})
	}
	return all, group.Wait()
}

// take finds the snapshot of a package, or makes it at dst.
func (h *Host) take(ctx context.Context, p Package, dst string) (taken, error) {
	contents, err := h.cfg.Database.Contents(ctx, p)
	if err != nil {
		return taken{}, err
	}
	key, watch := h.packageKey(p.Name, p.Architecture, p.Version, contents)
	t := taken{watch: watch}
	if load(h.cacheFile(key), &t.pin) && isDigest(t.pin.Digest) {
		t.dir = h.snapshotDir(t.pin.Digest)
		if _, err := os.Lstat(t.dir); err == nil {
			return t, nil
		}
	}
	t.key, t.dir = key, dst
	contents.Paths = slices.Concat(contents.Paths, h.expand(h.made(p.Name))) // not appended: the database may share its own
	if t.pin, err = h.snapshot(ctx, contents, dst); err != nil {
		return taken{}, err
	}
	t.pin.Name, t.pin.Architecture, t.pin.Version = p.Name, p.Architecture, p.Version
	t.pin.Digest, err = h.digest(ctx, dst)
	return t, err
}

// digest returns the digest of a tree. It becomes a file name, so its form is checked.
func (h *Host) digest(ctx context.Context, dir string) (string, error) {
	digest, err := h.cfg.Digest(ctx, dir)
	if err == nil && !isDigest(digest) {
		err = fmt.Errorf("digest %q: not of the form blake3:HEX", digest)
	}
	return digest, err
}

// takeLinks makes the snapshot of HostLinks for a closure.
func (h *Host) takeLinks(ctx context.Context, closure []taken, dst string) (taken, error) {
	t := taken{dir: dst, watch: h.stamps(linkWatch)}
	t.pin = Pinned{Name: HostLinks, Architecture: "all", Version: "1"}
	var dirs []string
	for _, c := range closure {
		dirs = append(dirs, c.dir)
	}
	links, err := h.hostLinks(dirs)
	if err == nil {
		err = writeLinks(dst, links)
	}
	if err == nil {
		t.pin.Files = len(links)
		t.pin.Digest, err = h.digest(ctx, dst)
	}
	if err != nil {
		return taken{}, fmt.Errorf("pin links of the host: %w", err)
	}
	key := linksKey(t.pin.Digest, t.watch)
	if _, err := os.Lstat(h.snapshotDir(t.pin.Digest)); err != nil || !load(h.cacheFile(key), new(Pinned)) {
		t.key = key
	}
	return t, nil
}

// commit names the new snapshots, once all are on disk, and records them.
func (h *Host) commit(all []taken) error {
	fresh := slices.DeleteFunc(slices.Clone(all), func(t taken) bool { return t.key == "" })
	if len(fresh) == 0 {
		return nil
	}
	if err := h.sync(); err != nil {
		return err
	}
	for _, t := range fresh {
		err := publish(t.dir, h.snapshotDir(t.pin.Digest))
		if err == nil {
			err = save(h.cacheFile(t.key), t.pin)
		}
		if err != nil {
			return fmt.Errorf("store snapshot of %q: %w", t.pin.Name, err)
		}
	}
	return nil
}

// suggest adds to a *NotInstalledError the package that ships a program of the name, or the file.
func (h *Host) suggest(ctx context.Context, err error) error {
	missing, ok := errors.AsType[*NotInstalledError](err)
	if !ok || missing.Name == "" {
		return err
	}
	files := []string{missing.Name}
	if !path.IsAbs(missing.Name) {
		files = []string{path.Join("/usr/bin", missing.Name), path.Join("/usr/sbin", missing.Name)}
	}
	for _, file := range files {
		owner, ok, ownerErr := h.Owner(ctx, file)
		if ownerErr == nil && ok && !slices.Contains(missing.Near, owner) {
			missing.Near = slices.Insert(missing.Near, 0, owner)
		}
	}
	return err
}
