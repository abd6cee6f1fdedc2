package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/urfave/cli/v2"

	"hdjail/artifact"
	"hdjail/build"
	"hdjail/build/plan"
	"hdjail/build/sources"
	"hdjail/hostpkgs/index"
)

func hashCommand(a *app) *cli.Command {
	return &cli.Command{
		Name: "hash", Usage: "print the derivation ID of specs", ArgsUsage: "[SPEC|ID...]", UsageText: "hdjail hash hello.yaml",
		Flags: append(planFlags(), jsonFlag()),
		Action: func(c *cli.Context) error {
			r, err := a.request(c, c.Args().Slice())
			if err != nil {
				return err
			}
			p, err := a.plan(c.Context, r)
			if err != nil {
				return err
			}
			type hashed struct {
				Name    string                `json:"name"`
				Version string                `json:"version,omitempty"`
				ID      artifact.DerivationID `json:"derivation"`
				Path    string                `json:"path"`
			}
			var list []hashed
			for _, t := range p.Asked {
				d := &t.Derivation
				list = append(list, hashed{d.Name, d.Version, t.ID, a.openStore.PublicPath(d)})
			}
			return a.out.show(c.Bool("json"), list, func() {
				for _, h := range list {
					a.out.line("%s", h.ID)
				}
			})
		},
	}
}

func fetchCommand(a *app) *cli.Command {
	return &cli.Command{
		Name: "fetch", Usage: "fetch the sources of specs, and of what they depend on", ArgsUsage: "[SPEC|ID...]",
		UsageText: "hdjail fetch hello.yaml\nhdjail fetch --mirror /srv/sources stack/*.yaml",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "offline", Usage: "use no network"},
			&cli.StringSliceFlag{Name: "mirror", KeepSpace: true, Usage: "ask `DIR|URL` first"},
			&cli.StringFlag{Name: "progress", Value: "auto", Usage: "show progress as `FORM`: auto, tree, plain, quiet or json"},
			jsonFlag(),
		},
		Action: a.fetch,
	}
}

// fetch brings the sources; which they are is known without the host's packages.
func (a *app) fetch(c *cli.Context) error {
	if _, err := a.request(c, nil); err != nil {
		return err
	}
	graph, err := a.load(c.Context, c.Args().Slice())
	if err != nil {
		return err
	}
	src, err := a.sources()
	if err != nil {
		return err
	}
	view, err := a.out.progress(c.String("progress"), a.now)
	if err != nil {
		return err
	}
	list, err := a.fetchAll(c.Context, src, graph, view)
	view.stop()
	if err != nil {
		return err
	}
	return a.out.show(c.Bool("json"), list, func() {
		for _, f := range list {
			a.out.line("%s", f.Digest)
		}
	})
}

// fetched is a source that is in the store now.
type fetched struct {
	Digest  string `json:"digest"`
	Fetched bool   `json:"fetched"`
}

func (a *app) fetchAll(ctx context.Context, src *sources.Store, graph *plan.Graph, view view) ([]fetched, error) {
	list, seen := []fetched{}, map[string]bool{}
	for _, n := range graph.Nodes {
		for _, r := range sourcesOf(n) {
			if r.Digest == "" || seen[r.Digest] { // without a digest it is a local path
				continue
			}
			seen[r.Digest] = true
			had := src.Has(r.Digest)
			if !had {
				if err := a.fetchOne(ctx, src, r, view); err != nil {
					return nil, err
				}
			}
			list = append(list, fetched{r.Digest, !had})
		}
	}
	return list, nil
}

func sourcesOf(n *plan.Node) (list []sources.Request) {
	if n.Spec == nil {
		for _, s := range n.Derivation.Sources {
			list = append(list, sources.Request{Digest: s.Digest})
		}
		return list
	}
	for _, s := range n.Spec.Sources {
		list = append(list, sources.Request{Digest: s.Digest(), URLs: s.URLs})
	}
	return list
}

// fetchOne fetches one source and tells of it as a build would.
func (a *app) fetchOne(ctx context.Context, src *sources.Store, r sources.Request, view view) error {
	send := func(e build.Event) {
		e.Version, e.Time, e.Drv, e.Name = build.EventVersion, a.now(), r.Digest, sourceName(r)
		view.Send(e)
	}
	send(build.Event{Event: "build.start"})
	send(build.Event{Event: "build.phase", Phase: "fetch"})
	began := a.now()
	err := src.Fetch(ctx, r, func(done, total int64) {
		send(build.Event{Event: "build.fetch", Source: r.Digest, Done: done, Total: total})
	})
	ended := build.Event{Event: "build.done", Status: "fetched", Seconds: a.now().Sub(began).Seconds()}
	if err != nil {
		ended.Status, ended.Error = "failed", err.Error()
	}
	send(ended)
	return err
}

// sourceName is what a person calls a source: the file that its first URL names, or its digest.
func sourceName(r sources.Request) string {
	if len(r.URLs) > 0 {
		return filepath.Base(r.URLs[0])
	}
	return r.Digest
}

func sourceCommand(a *app) *cli.Command {
	return &cli.Command{
		Name: "source", Usage: "keep sources in the store", UsageText: "hdjail source add hello-2.12.tar.gz\nhdjail source list",
		Subcommands: []*cli.Command{
			{Name: "add", Usage: "store files, and print their digests as a spec has them", ArgsUsage: "FILE...", UsageText: "hdjail source add hello-2.12.tar.gz",
				Flags: []cli.Flag{jsonFlag()}, Action: a.sourceAdd},
			{Name: "list", Usage: "list the sources in the store", UsageText: "hdjail source list", Flags: []cli.Flag{jsonFlag()}, Action: a.sourceList},
		},
	}
}

func (a *app) sourceAdd(c *cli.Context) error {
	if c.NArg() == 0 {
		return usagef("hdjail source add wants a file", "")
	}
	src, err := a.sources()
	if err != nil {
		return err
	}
	type added struct {
		File   string `json:"file"`
		SHA256 string `json:"sha256"`
		BLAKE3 string `json:"blake3"`
	}
	var list []added
	for _, file := range c.Args().Slice() {
		digests, err := src.Add(c.Context, a.absolute(file))
		if err != nil {
			return fmt.Errorf("add source %q: %w", file, err)
		}
		list = append(list, added{file, digests[0].Hex, digests[1].Hex})
	}
	return a.out.show(c.Bool("json"), list, func() {
		for _, l := range list {
			a.out.line("sha256:%s", l.SHA256)
		}
	})
}

func (a *app) sourceList(c *cli.Context) error {
	s, err := a.storeToRead()
	if err != nil {
		return err
	}
	type stored struct {
		Digest string `json:"digest"`
		Bytes  int64  `json:"bytes,omitempty"`
	}
	list := []stored{}
	for _, algorithm := range []string{"sha256", "blake3", "git", "tree"} {
		entries, _ := os.ReadDir(filepath.Join(s.SourcesDir(), algorithm)) // none of this kind yet
		for _, e := range entries {
			digest, err := sources.ParseDigest(algorithm + ":" + e.Name())
			info, err2 := e.Info()
			if err != nil || err2 != nil {
				continue
			}
			found := stored{Digest: digest.String()}
			if digest.IsFile() {
				found.Bytes = info.Size()
			}
			list = append(list, found)
		}
	}
	return a.out.show(c.Bool("json"), list, func() {
		for _, l := range list {
			a.out.line("%s %d", l.Digest, l.Bytes)
		}
	})
}

func hostCommand(a *app) *cli.Command {
	return &cli.Command{
		Name: "host", Usage: "look at the host's packages", UsageText: "hdjail host show gcc make",
		Subcommands: []*cli.Command{{
			Name: "show", Usage: "show what packages bring along: the closure, its size and digests", ArgsUsage: "PKG...", UsageText: "hdjail host show gcc make",
			Flags: []cli.Flag{jsonFlag()}, Action: a.hostShow,
		}, {
			Name: "owner", Usage: "print which packages own paths; - reads paths from standard input, a line or NUL each", ArgsUsage: "PATH...|-",
			UsageText: "hdjail host owner /bin/sh /usr/bin/cc\nfind /usr/lib -print0 | hdjail host owner --json -",
			Flags:     []cli.Flag{jsonFlag()}, Action: a.hostOwner,
		}},
	}
}

func (a *app) hostShow(c *cli.Context) error {
	if c.NArg() == 0 {
		return usagef("hdjail host show wants the name of a package", "")
	}
	host, err := a.hostPackages()
	if err != nil {
		return err
	}
	report, err := host.Show(c.Context, c.Args().Slice())
	if err != nil {
		return err
	}
	return a.out.show(c.Bool("json"), report, func() {
		var files int
		var bytes int64
		for _, p := range report.Packages {
			a.out.line("%-32s %-24s %6d files %9s  %s", p.Name, p.Version, p.Files, size(p.Bytes), p.Digest)
			files, bytes = files+p.Files, bytes+p.Bytes
			for _, o := range p.Omitted {
				a.out.say("left out: %s (%s)", escape(o.Path), o.Reason)
			}
		}
		for _, u := range report.Unmet {
			a.out.warn("%s needs %s, which is not installed", u.Package, u.Dependency)
		}
		a.out.say("%d packages, %d files, %s", len(report.Packages), files, size(bytes))
	})
}

// owned is a path with its owners. Raw is the path where JSON cannot hold it.
type owned struct {
	Path   string        `json:"path"`
	Raw    []byte        `json:"path_base64,omitempty"`
	Owners []index.Owner `json:"owners"`
}

// hostOwner ends with status 1 if a path has no owner, like dpkg -S.
func (a *app) hostOwner(c *cli.Context) error {
	paths := c.Args().Slice()
	if len(paths) == 0 {
		return usagef("hdjail host owner wants a path", "hdjail host owner /bin/sh")
	}
	if len(paths) == 1 && paths[0] == "-" {
		var err error
		if paths, err = readPaths(a.stdin); err != nil {
			return err
		}
	}
	host, err := a.hostToRead()
	if err != nil {
		return err
	}
	for i, p := range paths {
		if !filepath.IsAbs(p) {
			paths[i] = a.dir + "/" + p // not joined: what .. means depends on links
		}
	}
	all, err := host.Owners(c.Context, paths)
	if err != nil {
		return err
	}
	list, status := make([]owned, len(paths)), exitStatus(exitDone)
	for i, p := range paths {
		list[i] = owned{Path: p, Owners: append([]index.Owner{}, all[i]...)}
		if !utf8.ValidString(p) {
			list[i].Raw = []byte(p)
		}
		if len(all[i]) == 0 {
			status = exitOther
		}
	}
	err = a.out.show(c.Bool("json"), list, func() { a.printOwners(list) })
	if err == nil && status != exitDone {
		return status
	}
	return err
}

func (a *app) printOwners(list []owned) {
	for _, l := range list {
		for _, o := range l.Owners {
			a.out.line("%-32s %-24s %s", o.Package, o.Version, escape(l.Path))
		}
		if len(l.Owners) == 0 {
			a.out.say("no package owns %s", escape(l.Path))
		}
	}
}

// readPaths reads paths that each end in NUL, or, if there is none, in a newline.
func readPaths(r io.Reader) ([]string, error) {
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("read paths: %w", err)
	}
	end := "\n"
	if bytes.IndexByte(data, 0) >= 0 {
		end = "\x00"
	}
	paths := strings.Split(string(data), end)
	return slices.DeleteFunc(paths, func(p string) bool { return p == "" }), nil
}

// size is a number of bytes, for people.
func size(n int64) string {
	switch {
	case n >= 10<<30:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 10<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 10<<10:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d B", n)
}
