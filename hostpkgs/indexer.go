package hostpkgs

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"hdjail/hostpkgs/alternatives"
	"hdjail/hostpkgs/index"
	"hdjail/hostpkgs/rootpath"
)

// indexer puts what goroutines find on the host into an index.
type indexer struct {
	host    *Host
	names   *rootpath.Resolver
	mu      sync.Mutex // of builder
	builder *index.Builder
}

func (h *Host) buildIndex(ctx context.Context, key string) ([]byte, error) {
	installed, err := h.cfg.Database.Packages(ctx)
	if err != nil {
		return nil, err
	}
	remains, err := h.cfg.Database.Remains(ctx)
	if err != nil {
		return nil, err
	}
	in := &indexer{host: h, names: rootpath.OnHost(h.cfg.Root), builder: index.NewBuilder()}
	if err := in.addPackages(ctx, installed, remains); err != nil {
		return nil, err
	}
	if err := in.addFolders(ctx); err != nil {
		return nil, err
	}
	return in.builder.Bytes(key)
}

// addPackages adds packages, sorted by name, and what they own.
func (in *indexer) addPackages(ctx context.Context, installed, remains []Package) error {
	all := slices.Concat(installed, remains)
	slices.SortFunc(all, comparePackages)
	described := make([]index.Package, len(all))
	err := parallel(ctx, len(all), func(i int) (err error) {
		described[i], err = in.addPackage(ctx, i, all[i])
		described[i].Owner.Package = ownerName(all, i)
		return err
	})
	if err != nil {
		return err
	}
	for i, p := range described {
		p.Installed = !slices.ContainsFunc(remains, func(r Package) bool { return comparePackages(r, all[i]) == 0 })
		in.builder.Package(p)
	}
	return nil
}

// addPackage adds the paths of a package, and returns what else there is to say of it.
func (in *indexer) addPackage(ctx context.Context, number int, p Package) (index.Package, error) {
	contents, err := in.host.cfg.Database.Contents(ctx, p)
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // without a list it owns nothing
		return index.Package{}, err
	}
	real := make([]string, len(contents.Paths))
	for i, name := range contents.Paths {
		real[i] = in.names.Name(name).Path
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, name := range real {
		in.builder.Own(number, name)
	}
	return index.Package{Owner: index.Owner{Version: p.Version, Architecture: p.Architecture}, Name: p.Name,
		Fingerprint: contents.Fingerprint, Config: contents.Config, Made: madePatterns(p.Name)}, nil
}

// ownerName returns what a package manager calls the owner of a file, of packages that are sorted by name: with the
// architecture if the name could mean another package as well.
func ownerName(sorted []Package, i int) string {
	p := sorted[i]
	ambiguous := func(j int) bool {
		return j >= 0 && j < len(sorted) && sorted[j].Name == p.Name && sorted[j].Architecture != p.Architecture
	}
	if p.Coinstallable || !p.Native || ambiguous(i-1) || ambiguous(i+1) {
		return Dependency{Name: p.Name, Arch: p.Architecture}.String()
	}
	return p.Name
}

// addFolders looks for links and folders in all folders that hold something of a package, and in that of alternatives,
// but not in places that may be anybody's: they may be huge, or wait for a server.
func (in *indexer) addFolders(ctx context.Context) error {
	folders := append(in.builder.Folders(), alternatives.Dir)
	slices.Sort(folders)
	folders = slices.DeleteFunc(slices.Compact(folders), func(name string) bool {
		top, _, _ := strings.Cut(name[1:], "/")
		return slices.Contains(ownPlaces, top)
	})
	return parallel(ctx, len(folders), func(i int) error {
		in.addFolder(folders[i])
		return nil
	})
}

// addFolder adds the links and folders in a folder. One that cannot be read adds nothing: not everybody may read all.
func (in *indexer) addFolder(name string) {
	at := filepath.Join(in.host.cfg.Root, name)
	dir, err := os.Open(at)
	if err != nil {
		return
	}
	defer dir.Close()
	entries, _ := dir.ReadDir(-1)
	for _, e := range entries {
		switch {
		case e.IsDir():
			in.mu.Lock()
			in.builder.Folder(path.Join(name, e.Name()))
			in.mu.Unlock()
		case e.Type() == fs.ModeSymlink:
			target, err := os.Readlink(filepath.Join(at, e.Name()))
			if err != nil {
				continue
			}
			in.mu.Lock()
			in.builder.Link(path.Join(name, e.Name()), target)
			in.mu.Unlock()
		}
	}
}

// parallel calls do for each number below n, on every processor.
func parallel(ctx context.Context, n int, do func(i int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	workers := runtime.GOMAXPROCS(0)
	for w := range workers {
		group.Go(func() error {
			for i := w; i < n; i += workers {
				if err := ctx.Err(); err != nil {
					return err
				}
				if err := do(i); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return group.Wait()
}
