package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"time"

	"hdjail/artifact"
	"hdjail/artifact/lease"
	"hdjail/artifact/store"
	"hdjail/artifact/tree"
	"hdjail/build"
	"hdjail/build/sources"
	"hdjail/hostpkgs"
	"hdjail/hostpkgs/dpkg"
	"hdjail/hostpkgs/rpm"
	"hdjail/jail/container"
	"hdjail/policies"
)

// app is one run of the program: what its surroundings gave it, and what it opens when it is first needed. It is used from
// one goroutine.
type app struct {
	stdin   *os.File
	out     *out
	environ []string
	// dir is the working directory, home the caller's, empty when there is none; both are absolute and clean.
	dir, home string
	now       func() time.Time
	// processors is how many this process may use.
	processors int

	// storeRoot and prefix are --store and --prefix; offline and mirrors are those of the verb.
	storeRoot, prefix string
	offline           bool
	mirrors           []string
	// degraded are the degradations that the caller has allowed and this host needs.
	degraded []string
	// uids are those that root's builds run as; zero for the usual ones.
	uids policies.UIDRange

	openStore *store.Store
	// served tells that openStore is a daemon's, and read only.
	served     bool
	openHost   *hostpkgs.Host
	openSource *sources.Store
	openRunner *container.Runner
	closers    []func() error
}

// newApp looks at the surroundings once, before anything changes them.
func newApp() (*app, error) {
	a := &app{stdin: os.Stdin, out: newOut(os.Stdout, os.Stderr, os.Getenv("NO_COLOR") == ""), environ: os.Environ(), now: time.Now, processors: runtime.GOMAXPROCS(0)}
	var err error
	if a.dir, err = os.Getwd(); err != nil {
		return a, fmt.Errorf("find the working directory: %w", err)
	}
	// By its real path: what a link to it shows would not be hidden.
	home := os.Getenv("HOME")
	if real, err := filepath.EvalSymlinks(home); err == nil && filepath.IsAbs(home) && real != "/" && isDirectory(real) {
		a.home = real
	}
	return a, nil
}

func isRoot() bool { return os.Geteuid() == 0 }

// defaultStore is where the store is unless --store or HDJAIL_STORE says otherwise.
func (a *app) defaultStore() string {
	if isRoot() {
		return "/var/lib/hdjail"
	}
	if data := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(data) {
		return filepath.Join(data, "hdjail")
	}
	if a.home == "" {
		return ""
	}
	return filepath.Join(a.home, ".local/share/hdjail")
}

// store opens the store, and makes it if there is none. It sweeps what killed processes left, none of which is in our way.
func (a *app) store() (*store.Store, error) {
	opened := a.openStore != nil
	s, err := a.storeWith(store.Options{Now: a.now, Release: container.RemoveGroups})
	if err == nil && !opened {
		if _, err := s.Sweep(context.Background()); err != nil {
			a.out.warn("%v", err)
		}
	}
	return s, err
}

// storeToRead opens the store for a verb that only reads, so it may be another user's.
func (a *app) storeToRead() (*store.Store, error) {
	return a.storeWith(store.Options{Now: a.now, ReadOnly: true})
}

func (a *app) storeWith(o store.Options) (*store.Store, error) {
	if a.openStore != nil {
		return a.openStore, nil
	}
	root := a.storeRoot
	if root == "" {
		root = a.defaultStore()
	}
	if root == "" {
		return nil, usagef("no home directory to keep the store in", "name one with --store DIR or HDJAIL_STORE")
	}
	var err error
	a.openStore, err = a.storeAt(root, o)
	return a.openStore, err
}

// storeAt opens the store at root, whatever --store says.
func (a *app) storeAt(root string, o store.Options) (*store.Store, error) {
	root = a.absolute(root)
	if a.prefix != "" {
		o.Prefix = a.absolute(a.prefix)
	}
	s, err := store.Open(root, o)
	if _, missing := os.Lstat(root); err != nil && o.ReadOnly && errors.Is(missing, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no store at %q yet: %w", root, missing)
	}
	if err != nil {
		return nil, err
	}
	a.onClose(s.Close)
	return s, nil
}

// absolute is a path that the caller wrote, as an absolute, clean one.
func (a *app) absolute(path string) string {
	if !filepath.IsAbs(path) {
		path = filepath.Join(a.dir, path)
	}
	return filepath.Clean(path)
}

// hostPackages is the host's package database with the snapshots in the store.
func (a *app) hostPackages() (*hostpkgs.Host, error) {
	if a.openHost != nil {
		return a.openHost, nil
	}
	config, err := a.hostConfig()
	if err != nil {
		return nil, err
	}
	a.openHost, err = hostpkgs.New(config)
	return a.openHost, err
}

// hostConfig is what the host's packages are opened with.
func (a *app) hostConfig() (c hostpkgs.Config, err error) {
	s, err := a.store()
	if err != nil {
		return c, err
	}
	database, err := openDatabase()
	if err != nil {
		return c, err
	}
	self, err := lease.Self()
	if err != nil {
		return c, err
	}
	return hostpkgs.Config{Database: database, Dir: s.HostDir(), TempName: self.TempName, Abandoned: self.Abandoned,
		Digest: func(ctx context.Context, dir string) (string, error) {
			digest, err := tree.DigestPath(ctx, dir)
			return digest.String(), err
		}, Progress: a.out.pinning}, nil
}

// hostToRead is hostPackages for a verb that takes no snapshots, so the store may be another user's.
func (a *app) hostToRead() (*hostpkgs.Host, error) {
	_, err := a.store()
	if denied := (*store.AccessError)(nil); errors.As(err, &denied) {
		_, err = a.storeToRead()
	}
	if err != nil {
		return nil, err
	}
	return a.hostPackages()
}

// openDatabase finds which package manager this host has.
func openDatabase() (hostpkgs.Database, error) {
	deb, err := dpkg.Open("/")
	if err == nil {
		return deb, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	packages, err := rpm.Open(rpm.Config{})
	if err != nil {
		return nil, fmt.Errorf("find the host's packages: neither a dpkg nor an rpm database: %w", err)
	}
	return packages, nil
}

// sources is the store's verified downloads, with the verb's mirrors.
func (a *app) sources() (*sources.Store, error) {
	if a.openSource != nil {
		return a.openSource, nil
	}
	s, err := a.store()
	if err != nil {
		return nil, err
	}
	a.openSource, err = sources.Open(a.sourceOptions(s.Root()))
	if err != nil {
		return nil, err
	}
	a.onClose(a.openSource.Close)
	return a.openSource, nil
}

// sourceOptions are those of a store's sources, by the verb's flags.
func (a *app) sourceOptions(root string) sources.Options {
	return sources.Options{Root: root, Tree: digestTree, Mirrors: a.mirrors, Offline: a.offline, Proxy: http.ProxyFromEnvironment}
}

func digestTree(ctx context.Context, dir *os.File) (artifact.TreeDigest, error) {
	digest, _, err := tree.Digest(ctx, dir, tree.Options{})
	return digest, err
}

// runner starts jails, most of which will be of the mode warm. The first call may replace this process by a sealed copy of itself that starts over, so nothing may
// have been done before that cannot be done twice.
func (a *app) runner(warm policies.Mode) (*container.Runner, error) {
	if a.openRunner != nil {
		return a.openRunner, nil
	}
	o := container.DefaultOptions()
	if isRoot() {
		o.RunDir = container.ChooseRunDir("/run/hdjail", "/dev/shm/hdjail-0", "/run/hdjail")
	}
	program, err := container.Seal(o.RunDir)
	if err != nil {
		return nil, err
	}
	o.Program, o.Warm = program, warm
	if a.uids.Count > 0 {
		o.FirstUID, o.UIDs = a.uids.First, a.uids.Count
	}
	if !isRoot() {
		if o.RunDir, err = a.userRunDir(); err != nil {
			return nil, errors.Join(err, program.Close())
		}
	}
	if o.Observer, err = chosenObserver(); err != nil {
		return nil, err
	}
	o.HostNetwork = slices.Contains(a.degraded, degradedNetwork)
	o.Warn = func(text string) { a.out.warn("%s", text) }
	if a.openRunner, err = container.New(o); err != nil {
		return nil, err
	}
	a.onClose(a.openRunner.Close)
	return a.openRunner, nil
}

// chosenObserver reads HDJAIL_OBSERVER.
func chosenObserver() (container.Observer, error) {
	o, err := container.ParseObserver(os.Getenv("HDJAIL_OBSERVER"))
	if err != nil {
		return "", usagef("HDJAIL_OBSERVER: "+err.Error(), "unset it, and what this host offers is used")
	}
	return o, nil
}

// userRunDir is where an ordinary user's jails have their mount points: in memory where there is a place for that, else in
// the store.
func (a *app) userRunDir() (string, error) {
	candidates := []string{"/dev/shm/hdjail-" + strconv.Itoa(os.Geteuid())}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		candidates = append([]string{filepath.Join(dir, "hdjail")}, candidates...)
	}
	if dir := container.ChooseRunDir(append(candidates, "")...); dir != "" {
		return dir, nil
	}
	s, err := a.store()
	if err != nil {
		return "", err
	}
	temp, err := s.NewTemp()
	if err != nil {
		return "", err
	}
	a.onClose(temp.Close)
	return filepath.Join(temp.Dir, "run"), nil
}

// inputs are what plans are made and realized from.
func (a *app) inputs() (*hostpkgs.Host, *sources.Store, error) {
	host, err := a.hostPackages()
	if err != nil {
		return nil, nil, err
	}
	src, err := a.sources()
	return host, src, err
}

// builder realizes plans. It has no Runner yet: a verb that builds sets it.
func (a *app) builder() (*build.Builder, error) {
	s, err := a.store()
	if err != nil {
		return nil, err
	}
	host, src, err := a.inputs()
	if err != nil {
		return nil, err
	}
	name, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	return &build.Builder{Store: s, Sources: src, Host: host, Now: a.now, Home: a.home, CPUs: a.processors, Limits: build.DefaultLimits(),
		Identity: artifact.Builder{Host: name, UID: os.Geteuid()}}, nil
}

// system names the kind of machine that builds.
func system() string {
	machine := map[string]string{"amd64": "x86_64", "arm64": "aarch64", "386": "i686", "ppc64le": "powerpc64le"}[runtime.GOARCH]
	if machine == "" {
		machine = runtime.GOARCH
	}
	return machine + "-" + runtime.GOOS
}

func (a *app) onClose(f func() error) { a.closers = append(a.closers, f) }

// close gives back what was opened, and joins what goes wrong there with err.
func (a *app) close(err error) error {
	for i := len(a.closers) - 1; i >= 0; i-- {
		if closed := a.closers[i](); closed != nil {
			err = errors.Join(err, closed)
		}
	}
	a.closers = nil
	return err
}
