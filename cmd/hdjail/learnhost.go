package main

import (
	"context"
	"os"
	"path"
	"path/filepath"

	"hdjail/build/learn"
	"hdjail/hostpkgs"
	"hdjail/hostpkgs/rootpath"
	"hdjail/policies"
)

// describeHost fills in what an input says of this machine.
func (a *app) describeHost(ctx context.Context, input *learn.Input) error {
	database, err := openDatabase()
	if err != nil {
		return err
	}
	if input.Installed, err = database.Packages(ctx); err != nil {
		return err
	}
	policy, err := policies.Shipped("default")
	if err != nil {
		return err
	}
	if input.Rules, err = a.siteRules(); err != nil {
		return err
	}
	input.Host, input.Never, input.Home = learnHost{database}, policy.NeverPaths(a.home), a.home
	if s, err := a.storeToRead(); err == nil { // without a store nothing is ours
		input.Stores = []string{s.Root(), s.Prefix()}
	}
	return nil
}

// learnHost is this machine, as learning asks for it.
type learnHost struct{ database hostpkgs.Database }

// Look implements learn.Host.
func (learnHost) Look(name string) learn.Entry {
	info, err := os.Lstat(name)
	switch {
	case err != nil:
		return learn.Entry{}
	case info.IsDir():
		return learn.Entry{Kind: learn.Directory}
	case info.Mode().IsRegular():
		return learn.Entry{Kind: learn.File}
	case info.Mode()&os.ModeSymlink == 0:
		return learn.Entry{Kind: learn.Other}
	}
	target, err := os.Readlink(name)
	if err != nil {
		return learn.Entry{}
	}
	return learn.Entry{Kind: learn.Link, Target: target}
}

// List implements learn.Host.
func (learnHost) List(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names
}

// Owners implements learn.Host. It goes through the lists of all packages once, because a directory may be that of many.
func (h learnHost) Owners(ctx context.Context, paths []string) (map[string][]string, error) {
	owners := make(map[string][]string, len(paths))
	for _, p := range paths {
		owners[p] = nil
	}
	if len(owners) == 0 {
		return owners, nil
	}
	installed, err := h.database.Packages(ctx)
	if err != nil {
		return nil, err
	}
	names := rootpath.OnHost("/")
	for _, p := range installed {
		contents, err := h.database.Contents(ctx, p)
		if err != nil {
			return nil, err
		}
		name, dirs := p.Name+":"+p.Architecture, map[string]bool{}
		for _, listed := range contents.Paths {
			real := names.Name(filepath.Clean(listed)).Path
			if _, wanted := owners[real]; wanted && !dirs[real] {
				dirs[real] = true
				owners[real] = append(owners[real], name)
			}
			for dir := path.Dir(real); dir != "/" && !dirs[dir]; dir = path.Dir(dir) {
				dirs[dir] = true
				if _, wanted := owners[dir]; wanted {
					owners[dir] = append(owners[dir], name)
				}
			}
		}
	}
	return owners, nil
}
