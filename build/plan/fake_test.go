package plan

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"hdjail/artifact"
	"hdjail/artifact/tree"
	"hdjail/hostpkgs"
)

// fakeHost has packages without dependencies, whose digests follow from name and version. /bin/sh belongs to dash.
type fakeHost struct {
	mu       sync.Mutex
	versions map[string]string
	pinned   []string // each call of Pin
}

func (h *fakeHost) Pin(_ context.Context, names []string) ([]hostpkgs.Pinned, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pinned = append(h.pinned, strings.Join(names, " "))
	var list []hostpkgs.Pinned
	for _, name := range names {
		version, ok := h.versions[name]
		if !ok {
			return nil, &hostpkgs.NotInstalledError{Name: name, Near: []string{"gcc"}}
		}
		sum := sha256.Sum256([]byte(name + version))
		list = append(list, hostpkgs.Pinned{Name: name, Architecture: "amd64", Version: version, Digest: "blake3:" + hex.EncodeToString(sum[:])})
	}
	return list, nil
}

func (h *fakeHost) Owner(_ context.Context, path string) (string, bool, error) {
	if path == "/bin/sh" {
		return "dash", true, nil
	}
	return "", false, nil
}

// fakeSources identifies local files and trees by their content, and keeps nothing.
type fakeSources struct {
	mu    sync.Mutex
	files map[string]string // paths by digest
}

func (s *fakeSources) AddLocal(ctx context.Context, path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if info.IsDir() {
		digest, err := tree.DigestPath(ctx, path)
		return "tree:" + strings.TrimPrefix(digest.String(), "blake3:"), err
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(content)
	digest := "blake3:" + hex.EncodeToString(sum[:])
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files[digest] = path
	return digest, nil
}

func (s *fakeSources) OpenFile(digest string) (*os.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return os.Open(s.files[digest])
}

// fakeStore holds derivations.
type fakeStore map[artifact.DerivationID]*artifact.Derivation

func (s fakeStore) Derivation(id artifact.DerivationID) (*artifact.Derivation, error) {
	if d, ok := s[id]; ok {
		return d, nil
	}
	return nil, errors.New("the store lacks it")
}

func newResolver() *Resolver {
	return &Resolver{System: "x86_64-linux", Prefix: "/s", Home: "/home/u",
		Host:    &fakeHost{versions: map[string]string{"dash": "1", "gcc": "12", "make": "4", "python3": "3"}},
		Sources: &fakeSources{files: map[string]string{}}, HostDigest: digestHostPath}
}

func digestHostPath(ctx context.Context, path string) (artifact.TreeDigest, error) {
	info, err := os.Stat(path)
	if err != nil || info.IsDir() {
		digest, e := tree.DigestPath(ctx, path)
		return digest, errors.Join(err, e)
	}
	content, err := os.ReadFile(path)
	sum := sha256.Sum256(content)
	return artifact.TreeDigest(sum), err
}

// write makes files below a new directory, whose canonical path it returns.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func load(t *testing.T, dir string, files ...string) (*Graph, error) {
	t.Helper()
	return LoadGraph(t.Context(), Targets{Dir: dir, Files: files}, fakeStore{})
}

// resolve loads and resolves specs; what is wrong ends the test.
func resolve(t *testing.T, r *Resolver, dir string, files ...string) *Plan {
	t.Helper()
	g, err := load(t, dir, files...)
	if err != nil {
		t.Fatal(err)
	}
	p, err := r.Resolve(t.Context(), g)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// minimal is a spec of few words.
func minimal(name string, dependencies ...string) string {
	text := "hdjail: 1\nname: " + name + "\nscript: make\n"
	if len(dependencies) > 0 {
		text += "dependencies:\n"
	}
	for _, d := range dependencies {
		text += "  - spec: " + d + "\n"
	}
	return text
}

func stepNames(p *Plan) []string {
	var list []string
	for _, s := range p.Steps {
		list = append(list, s.Derivation.Name)
	}
	return list
}

func sortedNames(p *Plan) string {
	list := stepNames(p)
	slices.Sort(list)
	return strings.Join(list, " ")
}
