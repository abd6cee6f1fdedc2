package sources

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"hdjail/artifact"
	"hdjail/build/sources/unpack"
)

// attributes outrank those of the commit, which would have git archive leave files out or rewrite them.
const attributes = "* -export-ignore -export-subst -text !eol -ident -filter -working-tree-encoding\n"

// clone gets one commit from the repository at u and stores its tree. git checks every object that it receives against
// its hash, and the hash of the commit is the digest. Submodules are empty directories; what git-lfs keeps is pointers.
func (s *Store) clone(ctx context.Context, d Digest, u *url.URL) error {
	protocols := map[string]string{"https": "https", "http": "http:https", "file": "file"}[u.Scheme]
	if protocols == "" || u.Scheme == "file" && (u.Host != "" || !filepath.IsAbs(u.Path)) {
		return errors.New("no repository URL of a known form (https, http, file:///path)")
	}
	w, err := s.newWork()
	if err != nil {
		return err
	}
	defer w.remove()
	g := &repository{s: s, w: w, protocols: protocols}
	if err := g.fetch(ctx, d.Hex, u); err != nil {
		return err
	}
	_, err = s.keepTree(ctx, w, func(t *unpack.Tree) error { return g.export(ctx, d.Hex, t) },
		func(content artifact.TreeDigest) (Digest, error) {
			// The commit says nothing about our copy of its tree, so the digest of that is noted before it gets its name. Another
			// process may have been faster, and its note must not be cut off by us.
			note := w.name + "/digest"
			if err := s.root.WriteFile(note, []byte(content.String()+"\n"), 0o644); err != nil {
				return d, err
			}
			return d, s.root.Rename(note, d.path()+".digest")
		})
	return err
}

// repository is a bare repository in a work directory.
type repository struct {
	s         *Store
	w         *workDir
	protocols string
	proxy     string
}

func (g *repository) git(ctx context.Context, stdout io.Writer, args ...string) error {
	settings := []string{"core.hooksPath=/dev/null", "core.fsmonitor=false", "credential.helper=", "gc.auto=0",
		"fetch.fsckObjects=true", "fetch.fsck.zeroPaddedFilemode=ignore", "fetch.fsck.missingSpaceBeforeDate=ignore",
		"fetch.fsck.badTimezone=ignore", "http.lowSpeedLimit=1", "http.proxy=" + g.proxy,
		"http.lowSpeedTime=" + strconv.Itoa(int(g.s.o.Silence.Seconds())+1)}
	full := []string{"--git-dir=" + filepath.Join(g.w.path(), "repository")}
	for _, setting := range settings {
		full = append(full, "-c", setting)
	}
	return g.s.run(ctx, command{
		name: "git", args: append(full, args...), dir: g.w.path(), stdout: stdout, fix: "install the package git",
		env: []string{"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_ATTR_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0",
			"GIT_ALLOW_PROTOCOL=" + g.protocols, "GIT_NO_REPLACE_OBJECTS=1", "GIT_NO_LAZY_FETCH=1"},
	})
}

// fetch gets the commit alone where the server allows that, else all branches and tags.
func (g *repository) fetch(ctx context.Context, commit string, u *url.URL) error {
	if g.s.o.Proxy != nil {
		proxy, err := g.s.o.Proxy(&http.Request{URL: u})
		if err != nil {
			return err
		}
		if proxy != nil {
			g.proxy = proxy.String()
		}
	}
	if err := g.git(ctx, nil, "init", "--quiet", "--bare", "--template="); err != nil {
		return err
	}
	info := filepath.Join(g.w.name, "repository", "info")
	if err := g.s.root.MkdirAll(info, 0o755); err != nil {
		return err
	}
	if err := g.s.root.WriteFile(filepath.Join(info, "attributes"), []byte(attributes), 0o644); err != nil {
		return err
	}
	flags := []string{"fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head"}
	err := g.git(ctx, nil, append(flags, "--depth=1", "--", u.String(), commit)...)
	if err != nil {
		err = g.git(ctx, nil, append(flags, "--", u.String(), "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")...)
	}
	if err != nil {
		return err
	}
	var found bytes.Buffer
	if err := g.git(ctx, &found, "rev-parse", "--verify", "--quiet", commit+"^{commit}"); err != nil {
		return fmt.Errorf("repository has no commit %s", commit)
	}
	if got := strings.TrimSpace(found.String()); got != commit {
		return fmt.Errorf("%s is not a commit, but a tag of %s", commit, got)
	}
	return nil
}

// export writes the tree of the commit into t.
func (g *repository) export(ctx context.Context, commit string, t *unpack.Tree) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer w.Close()
		return g.git(ctx, w, "archive", "--format=tar", commit)
	})
	err = unpack.Stream(ctx, r, t)
	r.Close()
	return errors.Join(err, group.Wait())
}
