package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"
	"github.com/zeebo/blake3"

	"hdjail/artifact"
	"hdjail/artifact/store"
	"hdjail/build/learn"
	"hdjail/build/usage"
	"hdjail/hostpkgs"
	"hdjail/policies/audit"
)

func whoReadCommand(a *app) *cli.Command {
	return &cli.Command{
		Name: "who-read", Usage: "list the artifacts whose build used a file, what is below a directory, or a package", ArgsUsage: "PATH|PACKAGE",
		UsageText: "hdjail who-read /usr/include/zlib.h\nhdjail who-read --since 7d libssl3\nhdjail who-read --json /opt/cuda",
		Description: `A name without a slash is a package. The answer is as good as the records: builds that were not recorded are not in it. The first
query reads all audits of the store once, which takes a while.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "since", Usage: "only what was built since `TIME`: 2026-01-31, 2026-01-31T12:00:00Z, or as long ago as 36h or 7d"},
			jsonFlag(),
		},
		Action: a.whoRead,
	}
}

func (a *app) whoRead(c *cli.Context) error {
	if c.NArg() != 1 || c.Args().First() == "" {
		return usagef("hdjail who-read wants one path or package", "hdjail who-read /usr/include/zlib.h")
	}
	since, err := sinceTime(c, "since", a.now())
	if err != nil {
		return err
	}
	x, err := a.usage(c.Context)
	if err != nil {
		return err
	}
	var list []usage.Reader
	if what := c.Args().First(); strings.Contains(what, "/") || what == "." || what == ".." {
		paths := []string{a.absolute(what)}
		if real, err := filepath.EvalSymlinks(paths[0]); err == nil && real != paths[0] {
			paths = append(paths, real)
		}
		list = x.Readers(paths, since)
	} else {
		list = x.PackageReaders(what, since)
	}
	return a.out.show(c.Bool("json"), list, func() {
		for _, r := range list {
			line := fmt.Sprintf("%s  %s  %s %s", r.Realization, moment(r.Built), r.Name, r.Version)
			if r.Files > 1 {
				line += fmt.Sprintf("  %s and %d more", escape(r.First), r.Files-1)
			} else if r.Files == 1 {
				line += "  " + escape(r.First)
			}
			a.out.line("%s", line)
		}
		recorded, all := x.Coverage()
		a.out.say("%d of %d recorded artifacts used it%s", len(list), recorded, unrecorded(all-recorded))
	})
}

func unrecorded(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("; %d more have no record", n)
}

// sinceTime reads a point in time, or a duration before now. Empty text is the beginning of time.
func sinceTime(c *cli.Context, flag string, now time.Time) (time.Time, error) {
	text := c.String(flag)
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	if days, found := strings.CutSuffix(text, "d"); found {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			return now.Add(-time.Duration(n) * 24 * time.Hour), nil
		}
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	return time.Time{}, usagef("--"+flag+" is "+quote(text), "write 2026-01-31, 2026-01-31T12:00:00Z, 36h or 7d")
}

func staleCommand(a *app) *cli.Command {
	return &cli.Command{
		Name: "stale", Usage: "list the artifacts whose host packages have changed since", UsageText: "hdjail stale\nhdjail stale --json | jq -r '.[].derivation'",
		Description: `A changed package is another version, none at all, or other content. "used" marks those of which the build used a file; the others
were visible to it. "unverified" is one that was installed anew or configured since, in the same version: hdjail hash SPEC finds
out whether its content differs. What is stale still works: its packages are pinned in the store. hdjail build SPEC makes it anew.`,
		Flags: []cli.Flag{jsonFlag()},
		Action: func(c *cli.Context) error {
			x, err := a.usage(c.Context)
			if err != nil {
				return err
			}
			host, err := a.hostToRead()
			if err != nil {
				return err
			}
			list, err := x.Stale(c.Context, host.Changed)
			if err != nil {
				return err
			}
			return a.out.show(c.Bool("json"), list, func() { a.printStale(x, list) })
		},
	}
}

func (a *app) printStale(x *usage.Index, list []usage.Stale) {
	for _, s := range list {
		lines := []string{fmt.Sprintf("%s  %s  %s %s", s.Realization, moment(s.Built), s.Name, s.Version)}
		for _, p := range s.Changes {
			mark := "     "
			if p.Read {
				mark = "used "
			}
			what := string(p.Kind)
			if p.Kind == hostpkgs.Upgraded {
				what = "now " + p.Version
			}
			lines = append(lines, fmt.Sprintf("  %s%s %s: %s", mark, p.Package, p.Pinned, what))
		}
		a.out.line("%s", strings.Join(lines, "\n")) // there may be many: one write each
	}
	stale := slices.DeleteFunc(slices.Clone(list), func(s usage.Stale) bool {
		return !slices.ContainsFunc(s.Changes, func(p usage.PackageChange) bool { return p.Kind != hostpkgs.Unverified })
	})
	_, all := x.Coverage()
	text := fmt.Sprintf("%d of %d artifacts are stale", len(stale), all)
	if more := len(list) - len(stale); more > 0 {
		text += fmt.Sprintf(", %d more may be", more)
	}
	a.out.say("%s", text)
}

func unusedCommand(a *app) *cli.Command {
	return &cli.Command{
		Name: "unused", Usage: "list what whitelists have that builds never used", ArgsUsage: "[AUDIT|ID|-]",
		UsageText: "hdjail unused              # of all artifacts\nhdjail unused mf2x         # of one\nhdjail unused a.json",
		Description: `An entry of host.packages is unused if no file of it was used, nor of what only it brings in; an entry of host.paths or a dependency
if nothing below it was. A run without a record, or without a whitelist, has none.`,
		Flags: []cli.Flag{jsonFlag()},
		Action: func(c *cli.Context) error {
			if c.NArg() > 1 {
				return usagef("superfluous argument "+quote(c.Args().Get(1)), "")
			}
			if c.NArg() == 0 {
				return a.unusedOfStore(c)
			}
			read, _, err := a.recordedRun(c, c.Args().First())
			if err != nil {
				return err
			}
			graph, err := a.installed(c.Context)
			if err != nil {
				return err
			}
			list := append([]learn.Unused{}, learn.Find(read, graph)...)
			return a.out.show(c.Bool("json"), list, func() {
				for _, u := range list {
					a.out.line("%s", escape(u.String()))
				}
				a.out.say("%d unused entries", len(list))
			})
		},
	}
}

func (a *app) unusedOfStore(c *cli.Context) error {
	x, err := a.usage(c.Context)
	if err != nil {
		return err
	}
	list := x.Idle()
	return a.out.show(c.Bool("json"), list, func() {
		for _, i := range list {
			a.out.line("%s  %s  %s %s", i.Realization, moment(i.Built), i.Name, i.Version)
			for _, u := range i.Unused {
				a.out.line("  %s", escape(u.String()))
			}
		}
		recorded, all := x.Coverage()
		a.out.say("%d of %d recorded artifacts have unused entries%s", len(list), recorded, unrecorded(all-recorded))
	})
}

// installed is the graph of this machine's packages.
func (a *app) installed(ctx context.Context) (*hostpkgs.Graph, error) {
	database, err := openDatabase()
	if err != nil {
		return nil, err
	}
	packages, err := database.Packages(ctx)
	if err != nil {
		return nil, err
	}
	return hostpkgs.NewGraph(packages), nil
}

// usage opens the index of the store, up to date.
func (a *app) usage(ctx context.Context) (*usage.Index, error) {
	s, err := a.storeToRead()
	if err != nil {
		return nil, err
	}
	o := usage.Options{Dir: a.usageDir(s), Failed: func(err error) { a.out.warn("%v", err) }, Reading: func(count int) {
		if count > 50 {
			a.out.say("reading the records of %d artifacts, once", count)
		}
	}}
	return usage.Open(ctx, &recordedStore{store: s, graph: sync.OnceValues(func() (*hostpkgs.Graph, error) { return a.installed(ctx) })}, o)
}

// usageDir is where the index of a store is kept, empty for nowhere: the caller's own cache, because the store may be
// another's, and on a shared file system.
func (a *app) usageDir(s *store.Store) string {
	cache := a.cacheDir()
	if cache == "" {
		return ""
	}
	name := blake3.Sum256([]byte(s.Root()))
	return filepath.Join(cache, fmt.Sprintf("usage-%x", name[:8]))
}

// cacheDir is the caller's, for what may be lost; empty for nowhere.
func (a *app) cacheDir() string {
	if dir := os.Getenv("XDG_CACHE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "hdjail")
	}
	if a.home == "" {
		return ""
	}
	return filepath.Join(a.home, ".cache/hdjail")
}

// recordedStore is a store as the index reads it.
type recordedStore struct {
	store *store.Store
	graph func() (*hostpkgs.Graph, error)
}

// List implements usage.Source.
func (r *recordedStore) List() ([]artifact.RealizationID, error) {
	entries, err := os.ReadDir(filepath.Join(r.store.Root(), "realizations"))
	if err != nil {
		return nil, err
	}
	var list []artifact.RealizationID
	for _, e := range entries {
		if id, err := artifact.ParseRealizationID(e.Name()); err == nil {
			list = append(list, id)
		}
	}
	return list, nil
}

// Facts implements usage.Source. An audit that is damaged counts as none, with a warning.
func (r *recordedStore) Facts(_ context.Context, id artifact.RealizationID) (usage.Facts, error) {
	found, err := r.store.Realization(id)
	if missing := (*store.NotFoundError)(nil); errors.As(err, &missing) {
		return usage.Facts{}, fs.ErrNotExist // removed meanwhile
	}
	if err != nil {
		return usage.Facts{}, err
	}
	d, err := r.store.Derivation(found.Derivation)
	if err != nil {
		return usage.Facts{}, err
	}
	read, err := r.auditOf(found)
	if err != nil {
		return usage.Facts{}, err
	}
	graph, err := r.graph()
	if err != nil {
		return usage.Facts{}, err
	}
	return usage.Describe(found, d, read, graph), nil
}

// auditOf is the audit of the run that made a realization; nil for one that was not recorded.
func (r *recordedStore) auditOf(found artifact.Realization) (*audit.Audit, error) {
	for _, record := range found.Records {
		f, err := r.store.OpenAudit(record)
		if missing := (*store.NotFoundError)(nil); errors.As(err, &missing) {
			continue
		}
		if err != nil {
			return nil, err
		}
		defer f.Close()
		read, err := audit.Read(f)
		if truncated := (*audit.TruncatedError)(nil); errors.As(err, &truncated) {
			err = nil
		}
		return read, err
	}
	return nil, nil
}
