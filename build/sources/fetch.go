package sources

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Fetch brings a source into the store, unless it is there: it asks the mirrors and URLs one after the other until one
// has the content that the digest promises. Errors are *FetchError, *MissingError when offline or nobody could be asked,
// *lease.LockedError, *BadDigestError, or the cause of ctx. What had arrived of a file before an interruption is used the next
// time. progress may be nil.
func (s *Store) Fetch(ctx context.Context, r Request, progress Progress) error {
	d, err := ParseDigest(r.Digest)
	if err != nil {
		return err
	}
	if s.has(d) {
		return nil
	}
	unlock, err := s.lock(ctx, d.key())
	if err != nil {
		return err
	}
	defer unlock()
	if s.has(d) {
		return nil
	}
	if progress == nil {
		progress = func(int64, int64) {}
	}
	return s.fetch(ctx, d, s.places(d, r.URLs), progress)
}

func (s *Store) fetch(ctx context.Context, d Digest, places []string, progress Progress) error {
	failed := &FetchError{Digest: d.String()}
	missing := &MissingError{Digest: d.String(), Offline: s.o.Offline}
	asked := false
	for _, place := range places {
		u, err := url.Parse(place)
		shown := place
		if err == nil {
			shown = u.Redacted()
			if s.o.Offline && remote(u) {
				missing.URLs = append(missing.URLs, shown)
				continue
			}
			err = s.from(ctx, d, u, progress)
		}
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		asked = asked || !errors.Is(err, fs.ErrNotExist)
		failed.Attempts = append(failed.Attempts, Attempt{shown, err})
	}
	if len(places) == 0 || len(missing.URLs) > 0 && !asked {
		return missing
	}
	return failed
}

// places lists where to ask for a source, in order, each once.
func (s *Store) places(d Digest, urls []string) []string {
	var places []string
	add := func(place string) {
		if !slices.Contains(places, place) {
			places = append(places, place)
		}
	}
	mirrors := func(bases []string) {
		for _, base := range bases {
			if !d.IsFile() {
				continue
			}
			add(strings.TrimSuffix(base, "/") + "/" + d.path())
			for _, text := range urls {
				if name := baseName(text); name != "" {
					add(strings.TrimSuffix(base, "/") + "/" + url.PathEscape(name))
				}
			}
		}
	}
	mirrors(s.o.Mirrors)
	for _, text := range urls {
		add(text)
	}
	mirrors(s.o.LastMirrors)
	return places
}

// baseName is the name of the file that a URL leads to, or "".
func baseName(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return ""
	}
	switch name := path.Base(u.Path + u.Opaque); name {
	case ".", "..", "/":
		return ""
	default:
		return name
	}
}

func remote(u *url.URL) bool { return u.Scheme != "file" && u.Scheme != "" }

// from asks one place.
func (s *Store) from(ctx context.Context, d Digest, u *url.URL, progress Progress) error {
	if d.Algorithm == "git" {
		return s.clone(ctx, d, u)
	}
	if !d.IsFile() {
		return fmt.Errorf("fetch %q: a local tree has no URL", d)
	}
	in, err := s.begin(d)
	if err != nil {
		return err
	}
	defer in.close()
	if in.n > 0 && in.complete() {
		return in.commit(in.name)
	}
	switch {
	case u.Scheme == "http" || u.Scheme == "https":
		return s.download(ctx, in, u, progress)
	case u.Scheme == "debsrc":
		return s.debsrc(ctx, in, u, progress)
	case (u.Scheme == "file" || u.Scheme == "") && (u.Host == "" || u.Host == "localhost") && filepath.IsAbs(u.Path):
		f, err := openRegular(u.Path)
		if err != nil {
			return err
		}
		defer f.Close()
		return in.copyIn(ctx, f, progress)
	}
	return errors.New("no URL of a known form (http, https, file:///path, debsrc:PACKAGE/FILE)")
}
