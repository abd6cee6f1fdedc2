package main

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/zeebo/blake3"
	"golang.org/x/sys/unix"

	"hdjail/artifact"
	"hdjail/artifact/match"
	"hdjail/artifact/store"
	"hdjail/artifact/tree"
	"hdjail/build/plan"
	"hdjail/policies"
)

// request says what to plan: spec files, directories that hold one, and derivations of the store, as the caller wrote them.
type request struct {
	targets []string
	mode    policies.Mode
	matches []plan.Override
	// host stands between the plan and the host's packages, nil for nothing; locked are the matchers of a lock file.
	host   func(plan.HostPackages) plan.HostPackages
	locked map[artifact.DerivationID]match.Matcher
}

// specNames are what a spec is called in a directory that is named instead of it.
var specNames = []string{"hdjail.yaml", "hdjail.json"}

// plan loads and resolves what was asked for.
func (a *app) plan(ctx context.Context, r request) (*plan.Plan, error) {
	graph, err := a.load(ctx, r.targets)
	if err != nil {
		return nil, err
	}
	host, src, err := a.inputs()
	if err != nil {
		return nil, err
	}
	digests := plan.DigestCache{Dir: filepath.Join(a.openStore.HostDir(), "paths"), Compute: digestHostPath, Now: a.now}
	resolver := plan.Resolver{System: system(), Prefix: a.openStore.Prefix(), Host: host, Sources: src, HostDigest: digests.Digest,
		Home: a.home, Mode: r.mode, Matches: r.matches, Degraded: a.degraded, Locked: r.locked}
	if r.host != nil {
		resolver.Host = r.host(host)
	}
	return resolver.Resolve(ctx, graph)
}

// load reads the specs of the targets, and what they depend on. No target stands for the working directory.
func (a *app) load(ctx context.Context, targets []string) (*plan.Graph, error) {
	s, err := a.store()
	if err != nil {
		return nil, err
	}
	wanted := plan.Targets{Dir: a.dir}
	if len(targets) == 0 {
		targets = []string{"."}
	}
	for _, text := range targets {
		if !a.isPublic(text) {
			file, err := a.specFile(text)
			if err != nil {
				return nil, err
			}
			if file != "" {
				wanted.Files = append(wanted.Files, file)
				continue
			}
		}
		ref, err := s.ResolveID(storeName(s, a.absolute(text), text))
		if err != nil {
			return nil, err
		}
		wanted.IDs = append(wanted.IDs, ref.Derivation)
	}
	return plan.LoadGraph(ctx, wanted, s)
}

// isPublic reports whether a text is a path in the store.
func (a *app) isPublic(text string) bool {
	return storeName(a.openStore, a.absolute(text), "") != ""
}

// idLetters are those of IDs.
const idLetters = "abcdefghijklmnopqrstuvwxyz234567"

// specFile is the spec that a text names, or "" when it is the form of an ID and no file.
func (a *app) specFile(text string) (string, error) {
	info, err := os.Stat(a.absolute(text))
	switch {
	case err == nil && info.IsDir():
		for _, name := range specNames {
			if _, err := os.Stat(filepath.Join(a.absolute(text), name)); err == nil {
				return filepath.Join(text, name), nil
			}
		}
		return "", usagef("directory "+quote(text)+" holds no "+strings.Join(specNames, " and no "), "name a spec file, or write "+filepath.Join(text, specNames[0]))
	case err == nil:
		return text, nil
	case !errors.Is(err, fs.ErrNotExist):
		return text, nil // LoadGraph says what is wrong with it
	case strings.Trim(text, idLetters) == "" && text != "":
		return "", nil
	}
	return "", usagef("there is no spec "+quote(text), "")
}

// digestHostPath is the digest of a whitelisted directory, or of a file, as a tree that holds only that.
func digestHostPath(ctx context.Context, path string) (artifact.TreeDigest, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) // a FIFO must not keep us
	if err != nil {
		return artifact.TreeDigest{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return artifact.TreeDigest{}, err
	}
	if info.IsDir() {
		return digestTree(ctx, f)
	}
	if !info.Mode().IsRegular() {
		return artifact.TreeDigest{}, &tree.RefusedError{Path: path, Kind: "special", Detail: "it is neither a file nor a directory"}
	}
	entry := tree.Entry{Path: filepath.Base(path), Kind: tree.File, Size: info.Size()}
	if info.Mode()&0o100 != 0 {
		entry.Kind = tree.Executable
	}
	hash := blake3.New()
	if _, err := io.Copy(hash, f); err != nil {
		return artifact.TreeDigest{}, err
	}
	hash.Sum(entry.Content[:0])
	return tree.DigestEntries([]tree.Entry{entry})
}

// parseMatches reads NAME=MATCHER. The files of scripts start from the working directory.
func (a *app) parseMatches(texts []string) (list []plan.Override, err error) {
	for _, text := range texts {
		name, matcher, found := strings.Cut(text, "=")
		if !found || name == "" || strings.TrimSpace(matcher) == "" {
			return nil, usagef("--match "+quote(text)+" is not NAME=MATCHER", "for example --match zlib=latest")
		}
		m, err := match.Parse(matcher)
		if err != nil {
			return nil, usagef(err.Error(), "hdjail explain HJ0013 lists the matchers")
		}
		list = append(list, plan.Override{Name: name, Matcher: match.In(m, a.dir)})
	}
	return list, nil
}

// storeName is the name of the derivation or realization that a path in the store lies in, or otherwise when it does not.
func storeName(s *store.Store, path, otherwise string) string {
	for _, root := range []string{s.Prefix(), s.Root()} {
		for _, dir := range []string{"store/", "realizations/"} {
			if rest, inside := strings.CutPrefix(path, root+"/"+dir); inside {
				name, _, _ := strings.Cut(rest, "/")
				return name
			}
		}
	}
	return otherwise
}

func isDirectory(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
