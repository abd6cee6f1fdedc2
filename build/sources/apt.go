package sources

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"hdjail/build/sources/debsrc"
)

// PackageError reports a file that the host's archives do not have. Have lists the files that they have of the package.
type PackageError struct {
	Package, File string
	Have          []string
}

// Error implements error, in one line.
func (e *PackageError) Error() string {
	if len(e.Have) == 0 {
		return fmt.Sprintf("find source package %q: the configured archives have none of this name", e.Package)
	}
	return fmt.Sprintf("find file %q of source package %q: the configured archives have %s", e.File, e.Package,
		strings.Join(e.Have, " "))
}

var debsrcPattern = regexp.MustCompile(`^([a-z0-9][a-z0-9+.-]+)/([A-Za-z0-9][A-Za-z0-9+._~-]*)$`)

// debsrc asks APT for a file of a source package. APT gets lists and caches of its own, below the store, so that nothing
// of the host changes and no privilege is needed.
func (s *Store) debsrc(ctx context.Context, in *intake, u *url.URL, progress Progress) error {
	m := debsrcPattern.FindStringSubmatch(u.Opaque)
	if m == nil {
		return errors.New("not of the form debsrc:PACKAGE/FILE")
	}
	w, err := s.newWork()
	if err != nil {
		return err
	}
	defer w.remove()
	unlock, err := s.lock(ctx, "apt")
	if err != nil {
		return err
	}
	err = s.aptSource(ctx, w, m[1], m[2])
	unlock()
	if err != nil {
		return err
	}
	f, err := openRegular(filepath.Join(w.path(), m[2]))
	if err != nil {
		return err
	}
	defer f.Close()
	return in.copyIn(ctx, f, progress)
}

// aptSource downloads the files of the version that has file into w. Lists may be old: before it gives up it renews them.
func (s *Store) aptSource(ctx context.Context, w *workDir, pkg, file string) error {
	fresh, err := s.aptSetUp()
	if err != nil {
		return err
	}
	for {
		if fresh {
			// A failure is told by what is missing afterwards: one archive of many may be out of reach.
			if err = s.apt(ctx, w, nil, "apt-get", "-qq", "update"); ctx.Err() != nil || errors.As(err, new(*ToolError)) {
				return err
			}
		}
		updated := err
		var version string
		if version, err = s.aptVersion(ctx, w, pkg, file); err == nil {
			err = s.apt(ctx, w, nil, "apt-get", "-qq", "source", "--only-source", "--download-only", pkg+"="+version)
		}
		if err == nil || fresh || ctx.Err() != nil || errors.As(err, new(*ToolError)) {
			if err != nil && updated != nil {
				return fmt.Errorf("%w (%w)", err, updated)
			}
			return err
		}
		fresh, err = true, nil
	}
}

// aptVersion finds the version of a source package that has the file.
func (s *Store) aptVersion(ctx context.Context, w *workDir, pkg, file string) (string, error) {
	var out bytes.Buffer
	if err := s.apt(ctx, w, &out, "apt-cache", "-qq", "showsrc", "--only-source", pkg); errors.As(err, new(*ToolError)) {
		return "", err
	}
	records, err := debsrc.ParseRecords(out.String())
	if err != nil {
		return "", err
	}
	missing := &PackageError{Package: pkg, File: file}
	for _, r := range records {
		if r.Package == pkg && slices.Contains(r.Files, file) {
			return r.Version, nil
		}
		if r.Package == pkg {
			missing.Have = append(missing.Have, r.Files...)
		}
	}
	slices.Sort(missing.Have)
	missing.Have = slices.Compact(missing.Have)
	return "", missing
}

// aptClear drops the host's commands that APT would run after an update, which may change the host.
const aptClear = "#clear APT::Update::Pre-Invoke;\n#clear APT::Update::Post-Invoke;\n#clear APT::Update::Post-Invoke-Success;\n"

// aptSetUp writes what APT reads and reports whether the lists must be fetched first.
func (s *Store) aptSetUp() (bool, error) {
	list, err := s.aptSources()
	if err != nil {
		return false, err
	}
	for _, dir := range []string{"apt/lists/partial", "apt/cache/archives/partial"} {
		if err := s.root.MkdirAll(dir, 0o755); err != nil {
			return false, fmt.Errorf("set up apt: %w", err)
		}
	}
	old, err := s.root.ReadFile("apt/list.sources")
	fresh := err != nil || string(old) != list
	for name, text := range map[string]string{"apt/status": "", "apt/clear.conf": aptClear, "apt/list.sources": list} {
		if err := s.root.WriteFile(name, []byte(text), 0o644); err != nil {
			return false, fmt.Errorf("set up apt: %w", err)
		}
	}
	return fresh, nil
}

// aptSources reads the host's APT sources and rewrites them for source packages.
func (s *Store) aptSources() (string, error) {
	var stanzas []debsrc.Stanza
	names, err := filepath.Glob(filepath.Join(s.o.Etc, "sources.list.d", "*"))
	if err != nil {
		return "", err
	}
	for _, name := range append([]string{filepath.Join(s.o.Etc, "sources.list")}, names...) {
		parse := map[string]func(string) ([]debsrc.Stanza, error){".list": debsrc.ParseList, ".sources": debsrc.ParseSources}[filepath.Ext(name)]
		if parse == nil {
			continue
		}
		data, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("read apt sources: %w", err)
		}
		more, err := parse(string(data))
		if err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
		stanzas = append(stanzas, more...)
	}
	if len(stanzas) == 0 {
		return "", &ToolError{"apt-get", "no archive is configured in " + s.o.Etc}
	}
	return debsrc.Format(stanzas), nil
}

// apt runs a program of APT in the work directory.
func (s *Store) apt(ctx context.Context, w *workDir, out *bytes.Buffer, name string, args ...string) error {
	dir := filepath.Join(s.dir, "apt")
	options := []string{"-c", filepath.Join(dir, "clear.conf")}
	for _, option := range []string{"Dir::Etc::sourcelist=" + dir + "/list.sources", "Dir::Etc::sourceparts=/dev/null",
		"Dir::State::lists=" + dir + "/lists/", "Dir::State::status=" + dir + "/status", "Dir::Cache=" + dir + "/cache/",
		"Dir::Cache::archives=archives/", "APT::Sandbox::User=root", "Acquire::Languages=none", "Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false"} {
		options = append(options, "-o", option)
	}
	c := command{name: name, args: append(options, args...), dir: w.path(), fix: "debsrc: needs a Debian or Ubuntu host with apt; add another URL",
		env: []string{"DEBIAN_FRONTEND=noninteractive"}}
	if out != nil {
		c.stdout = out
	}
	return s.run(ctx, c)
}
