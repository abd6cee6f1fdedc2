package container

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/opencontainers/runc/libcontainer"
	"github.com/opencontainers/runc/libcontainer/configs"
	"github.com/sirupsen/logrus"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"hdjail/jail"
	"hdjail/jail/observe"
	"hdjail/jail/reexec"
	"hdjail/policies"
	"hdjail/seccomp"
)

// Options are the site's settings of a Runner.
type Options struct {
	// RunDir holds mount points and state of running jails, a few dozen small files each: best in memory, see ChooseRunDir.
	// It is made with mode 0711 when absent, and must be reachable by the build's uid, so not below a directory that only
	// root may enter.
	RunDir string
	// LeaseDir holds the locks on the uids that root leases: one place for all Runners of the machine. It is made like
	// RunDir.
	LeaseDir string
	// FirstUID and UIDs are the range of host ids that root leases to builds, one to a jail at a time.
	FirstUID, UIDs int
	// Program is what Seal returned, or nil: then New makes a sealed copy of its own. New takes it, also when it fails.
	Program *os.File
	// Observer is how file accesses are recorded. One that is demanded and cannot run is a *jail.Unsupported.
	Observer Observer
	// HostNetwork runs jails in the host's network namespace, with filters that let nothing reach it: for hosts that make none, if
	// the user has allowed that.
	HostNetwork bool
	// Warm is the mode of the jails to come, whose filters are compiled ahead; empty for none.
	Warm policies.Mode
	// Warn is told what users may stumble over, in one line, once each; nil for nobody.
	Warn func(text string)
}

// DefaultOptions are those of an installation without configuration, for root; ordinary users need a RunDir of their own.
// The range of ids lies above what systemd gives to containers and below 2^31 (systemd's UIDS-GIDS document), so it belongs
// to nobody.
func DefaultOptions() Options {
	return Options{RunDir: "/run/hdjail", LeaseDir: "/run/hdjail", FirstUID: 1900000000, UIDs: 256}
}

// Runner starts jails. It is safe for concurrent use; make one a process.
type Runner struct {
	options Options
	root    bool
	stage2  *os.File
	dir     *runDir
	table   func() *policies.CallTable
	filters map[filterKind]func() ([][]byte, error)
	hook    bool // our own program mounts, else libcontainer does
	// landlock is the kernel's ABI, 0 for none.
	landlock int
	// growthPause is between two looks at how much a build has written.
	growthPause time.Duration
	idmaps      idmaps
	// noListener tells that stage 2 got none.
	noListener atomic.Bool
	warnTraced sync.Once
	// warming is what is made ahead of the first jail, on another processor.
	warming sync.WaitGroup
}

var _ jail.Runner = (*Runner)(nil)

// New prepares a Runner. What runs inside its jails is a sealed copy of this program. Close releases it.
func New(options Options) (*Runner, error) {
	logrus.SetOutput(io.Discard) // libcontainer's chatter; its errors are returned
	unix.Umask(0o022)            // whatever the caller's; what is private is made so by name
	// libcontainer hands this variable on to its init, where every further thread costs time. Ours is set up already.
	if err := os.Setenv("GOMAXPROCS", "1"); err != nil {
		return nil, err
	}
	exe := options.Program
	dir, err := openRunDir(options.RunDir)
	if err != nil {
		exe.Close() // nothing if there is none
		return nil, &jail.SetupError{Phase: "run-directory", Err: err}
	}
	if exe == nil {
		if exe, err = sealedSelf(dir.path); err != nil {
			return nil, errors.Join(&jail.SetupError{Phase: "seal", Err: err}, dir.close())
		}
	}
	abi, _ := landlockABI()
	refusals := policies.Refusals()
	if options.HostNetwork {
		refusals = append(refusals, policies.NoNetwork(abi >= landlockScoping)...)
	}
	r := &Runner{
		options: options,
		root:    os.Geteuid() == 0,
		stage2:  exe,
		dir:     dir,
		table: sync.OnceValue(func() *policies.CallTable {
			return policies.NewCallTable(refusals, seccomp.Number)
		}),
		filters:     filterKinds(refusals),
		hook:        hookWorks(),
		growthPause: growthPause,
		idmaps:      idmaps{found: map[int]*os.File{}},
	}
	r.landlock = abi
	if options.Warm.Filtered() && options.Warm != "" {
		c := jail.Config{Log: new(observe.Log), Mode: options.Warm}
		r.warming.Go(func() { r.filter(c, r.choose(c).ask()) })
		r.warming.Go(func() { r.table() })
	}
	// A worker that waits for a call keeps a processor of Go's, and where none is idle the scheduler takes it away and
	// gives it back for every call.
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + workers() + 1)
	return r, nil
}

// Close releases the sealed copy and removes what was made for jails. No jail may be running.
func (r *Runner) Close() error {
	r.warming.Wait()
	return errors.Join(r.stage2.Close(), r.idmaps.close(), r.dir.close())
}

// filterKind is what the filters of this process differ in.
type filterKind struct {
	ask  seccomp.Ask
	i386 bool
}

// filterKinds are the filters in the order of their loading, each compiled when it is first asked for: the last one is that of
// a listener.
func filterKinds(refusals []policies.SyscallRule) map[filterKind]func() ([][]byte, error) {
	kinds := map[filterKind]func() ([][]byte, error){}
	for _, ask := range []seccomp.Ask{seccomp.AskNobody, seccomp.AskListener, seccomp.AskTracer} {
		for _, i386 := range []bool{false, true} {
			kinds[filterKind{ask, i386}] = sync.OnceValues(func() ([][]byte, error) {
				options := seccomp.Options{Rules: refusals, Ask: ask, I386: i386}
				programs := make([][]byte, 2)
				var group errgroup.Group
				group.Go(func() (err error) {
					programs[0], err = seccomp.CompileAllowed(options)
					return err
				})
				group.Go(func() (err error) {
					programs[1], _, err = seccomp.Compile(options)
					return err
				})
				return programs, group.Wait()
			})
		}
	}
	return kinds
}

// filter is the pair of the jail, empty in mode off. Where the host is visible, its 32-bit programs run.
func (r *Runner) filter(c jail.Config, ask seccomp.Ask) ([][]byte, error) {
	if !c.Mode.Filtered() {
		return nil, nil
	}
	programs, err := r.filters[filterKind{ask: ask, i386: !c.Mode.Contains()}]()
	if err != nil {
		return nil, &jail.SetupError{Phase: "filter", Err: err}
	}
	return programs, nil
}

// Run implements jail.Runner.
func (r *Runner) Run(ctx context.Context, c jail.Config) (jail.Result, error) {
	if err := c.Validate(); err != nil {
		return jail.Result{}, err
	}
	// The jail's first process dies with the thread that forked it (PR_SET_PDEATHSIG, prctl(2)), so one thread is kept for
	// the life of the jail.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	result, err := r.run(ctx, c, r.choose(c))
	if r.options.Observer == ObserverAuto && withoutListener(err) && r.choose(c) == ObserverNotification {
		r.noListener.Store(true)
		c.Log.Restart()
		result, err = r.run(ctx, c, ObserverPtrace)
	}
	return result, err
}

func (r *Runner) run(ctx context.Context, c jail.Config, kind Observer) (result jail.Result, err error) {
	if ctx.Err() != nil {
		return result, context.Cause(ctx)
	}
	root, err := r.dir.makeRoot(c.Mounts, r.identity(c))
	if err != nil {
		return result, &jail.SetupError{Phase: "skeleton", Err: err}
	}
	defer func() {
		if e := root.remove(); err == nil && e != nil {
			err = &jail.SetupError{Phase: "clean-up", Err: e}
		}
	}()
	pinned, err := pinSources(c.Mounts)
	if err != nil {
		return result, err
	}
	defer pinned.close()
	if kind == ObserverPtrace && r.options.Warn != nil {
		r.warnTraced.Do(func() {
			r.options.Warn("file accesses are recorded by ptrace: debuggers and strace do not work in jails")
		})
	}
	p, err := r.start(c, kind, root, pinned)
	if err != nil {
		return result, err
	}
	defer p.control.Close()
	defer p.destroy()
	pinned.close()
	result, err = p.supervise(ctx)
	result.Enforced = p.enforced
	return result, err
}

// start creates the container and waits until stage 2 has its plan; what goes wrong in stage 2 is seen by supervise.
func (r *Runner) start(c jail.Config, kind Observer, root root, pinned *pinnedSources) (_ *process, err error) {
	p := &process{config: c, started: time.Now(), growthPause: r.growthPause, enforced: jail.Enforced{Tier: "none"}}
	filters, err := r.filter(c, kind.ask())
	if err != nil {
		return nil, err
	}
	if filters != nil {
		p.enforced.Tier, p.enforced.Filters = r.tier(), true
	}
	defer func() {
		if err != nil {
			p.closeFiles()
		}
	}()
	ids := r.identity(c)
	p.observer = r.newObserver(c, kind, ids)
	if err := p.openStreams(); err != nil {
		return nil, &jail.SetupError{Phase: "streams", Err: err}
	}
	if r.root && !c.Host {
		if err := p.lendPipes(ids); err != nil {
			return nil, &jail.SetupError{Phase: "streams", Err: err}
		}
	}
	limits := planLimits(c.Limits, r.root, hardLimit)
	p.enforced.Limits, p.enforced.Missing = limits.enforced, limits.missing
	plan := stage2Plan{config: c, filters: filters, sources: pinned.found, ids: ids, ask: kind.ask(), canaries: p.observer.paths()}
	plan.fence = p.fence(r.landlock)
	if p.plan, err = sealedFile("plan", plan.encode()); err != nil {
		return nil, &jail.SetupError{Phase: "plan", Err: err}
	}
	config := r.adapt(containerConfig(c, root, ids, limits))
	p.init = &libcontainer.Process{
		Args: []string{"/proc/self/fd/3", reexec.Stage2Name}, Env: []string{"HOME=/"}, Cwd: "/", Init: true,
		Stdin: p.stdin, Stdout: p.stdout, Stderr: p.stderr, ExtraFiles: []*os.File{r.stage2, p.remote, p.plan},
		LogLevel: strconv.Itoa(int(logrus.FatalLevel)), // libcontainer's errors are made of these; without it init tells every step
	}
	if r.root && !c.Host {
		p.init.AdditionalGroups = []int{0} // an ordinary user has his own group among these, too
	}
	if r.hook {
		h, err := r.newHook(c, root.over, pinned)
		if err != nil {
			return nil, err
		}
		defer h.close()
		h.config(config)
		p.init.ExtraFiles = append(append(p.init.ExtraFiles, h.list), h.trees...)
	}
	if p.container, err = createContainer(filepath.Join(r.dir.path, "state"), config); err != nil {
		return nil, &jail.SetupError{Phase: "configuration", Err: err}
	}
	if err := p.container.Run(p.init); err != nil {
		p.destroy()
		return nil, r.explainStart(p, err)
	}
	p.closeChildEnds()
	return p, nil
}

// tier is what the audit calls jails that contain.
func (r *Runner) tier() string {
	if r.options.HostNetwork {
		return "no-netns"
	}
	return "full"
}

// adapt makes the configuration of a container one for this user and this host.
func (r *Runner) adapt(config *configs.Config) *configs.Config {
	config.RootlessEUID, config.RootlessCgroups = !r.root, !r.root
	config.Cgroups.Rootless = !r.root
	if r.options.HostNetwork {
		config.Namespaces.Remove(configs.NEWNET)
		config.Networks = nil
	}
	return config
}

func randomName() string {
	var b [16]byte
	rand.Read(b[:]) // never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}

// identity says which ids the jail maps.
func (r *Runner) identity(c jail.Config) identity {
	uid, gid := os.Getuid(), os.Getgid()
	if r.root {
		uid, gid = c.Scratch.UID, c.Scratch.GID
	}
	switch {
	case c.Host && r.root:
		return identity{uid: 0, gid: 0, size: 1<<32 - 1, insideUID: 0, insideGID: 0,
			keep: capChown | capDACOverride | capFowner | capSetgid | capSetuid}
	case c.Host:
		return identity{uid: uid, gid: gid, size: 1, insideUID: uid, insideGID: gid}
	}
	return identity{uid: uid, gid: gid, size: 1, insideUID: jail.UserID, insideGID: jail.UserID}
}

// identity maps jail ids to host ids: 0 of the outer namespace, inside* of the inner one.
type identity struct {
	uid, gid             int
	size                 int64
	insideUID, insideGID int
	keep                 uint64
}

func (i identity) maps() (uids, gids string) {
	return fmt.Sprintf("%d 0 %d\n", i.insideUID, i.size), fmt.Sprintf("%d 0 %d\n", i.insideGID, i.size)
}
