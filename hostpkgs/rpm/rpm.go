// Package rpm reads the database of rpm (Fedora, openSUSE, Enterprise Linux) by running rpm(8), because the format of the
// database differs by release.
package rpm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"hdjail/hostpkgs"
	"hdjail/hostpkgs/rootpath"
)

// Config says where a database is. The zero value is the host's own.
type Config struct {
	// Root is the root directory that paths are relative to, absolute and clean, "" for "/".
	Root string
	// DBPath is the folder of the database, absolute, "" for the first of rpm's usual ones below Root.
	DBPath string
	// Program is the path of rpm, "" for /usr/bin/rpm.
	Program string
}

// Database is an rpm database. It implements hostpkgs.Database; safe for concurrent use. What is installed is read at
// first need, by one run of rpm, and again when it has changed.
type Database struct {
	cfg   Config
	mu    sync.Mutex
	state state
}

// state is what is installed, by name, version and architecture, when the database had a fingerprint.
type state struct {
	fingerprint string
	installed   map[string]record
}

// usualPaths are where releases keep the database (the macro %_dbpath).
var usualPaths = []string{"usr/lib/sysimage/rpm", "usr/share/rpm", "var/lib/rpm"}

// Open returns the database that cfg names. Without a database, or the program rpm, it gives an error for which
// errors.Is(err, fs.ErrNotExist) holds.
func Open(cfg Config) (*Database, error) {
	if cfg.Root == "" {
		cfg.Root = "/"
	}
	if cfg.Program == "" {
		cfg.Program = "/usr/bin/rpm"
	}
	for _, dir := range usualPaths {
		dir = filepath.Join(cfg.Root, dir)
		if files, _ := os.ReadDir(dir); cfg.DBPath == "" && len(files) > 0 {
			cfg.DBPath = dir
		}
	}
	if cfg.DBPath == "" {
		return nil, fmt.Errorf("open rpm database below %q: %w", cfg.Root, fs.ErrNotExist)
	}
	for _, name := range []string{cfg.DBPath, cfg.Program} {
		if _, err := os.Stat(name); err != nil {
			return nil, fmt.Errorf("open rpm database: %w", err)
		}
	}
	return &Database{cfg: cfg}, nil
}

// run returns what rpm prints for a query. The caller's environment and macro files have no say.
func (db *Database) run(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, db.cfg.Program, append([]string{"--dbpath", db.cfg.DBPath}, args...)...)
	cmd.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C", "HOME=/nonexistent"}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		line, _, _ := strings.Cut(strings.TrimSpace(stderr.String()+stdout.String()), "\n")
		return nil, fmt.Errorf("query rpm database: %w: %s", err, line)
	}
	return stdout.Bytes(), nil
}

// Fingerprint implements hostpkgs.Database.
func (db *Database) Fingerprint(context.Context) (string, error) {
	entries, err := os.ReadDir(db.cfg.DBPath)
	if err != nil {
		return "", fmt.Errorf("read rpm database: %w", err)
	}
	text := "rpm"
	for _, e := range entries {
		// Readers create and touch the lock file and the shared memory of SQLite.
		if strings.HasPrefix(e.Name(), ".") || strings.HasSuffix(e.Name(), "-shm") {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("read rpm database: %w", err)
		}
		if info.Size() > 0 { // readers leave an empty write-ahead log
			text += fmt.Sprintf(" %s:%d:%d:%d", e.Name(), info.Size(), info.ModTime().UnixNano(), info.Sys().(*syscall.Stat_t).Ino)
		}
	}
	return text, nil
}

func (db *Database) load(ctx context.Context) (map[string]record, error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	fingerprint, err := db.Fingerprint(ctx)
	if err != nil || fingerprint == db.state.fingerprint {
		return db.state.installed, err
	}
	output, err := db.run(ctx, "-qa", "--queryformat", queryFormat)
	if err != nil {
		return nil, err
	}
	records, err := parseQuery(output)
	if err != nil {
		return nil, fmt.Errorf("query rpm database: %w", err)
	}
	provideFiles(records, rootpath.OnHost(db.cfg.Root))
	requireRich(records)
	markNative(records)
	installed := map[string]record{}
	for _, r := range records {
		installed[key(r.Package)] = r
	}
	db.state = state{fingerprint, installed}
	return installed, nil
}

func key(p hostpkgs.Package) string { return p.Name + " " + p.Version + " " + p.Architecture }

// Packages implements hostpkgs.Database.
func (db *Database) Packages(ctx context.Context) ([]hostpkgs.Package, error) {
	records, err := db.load(ctx)
	if err != nil {
		return nil, err
	}
	packages := make([]hostpkgs.Package, 0, len(records))
	for _, r := range records {
		packages = append(packages, r.Package)
	}
	return packages, nil
}

// Remains implements hostpkgs.Database: rpm knows no such state.
func (db *Database) Remains(context.Context) ([]hostpkgs.Package, error) { return nil, nil }

// Contents implements hostpkgs.Database.
func (db *Database) Contents(ctx context.Context, p hostpkgs.Package) (hostpkgs.Contents, error) {
	records, err := db.load(ctx)
	if err != nil {
		return hostpkgs.Contents{}, err
	}
	r, ok := records[key(p)]
	if !ok {
		return hostpkgs.Contents{}, fmt.Errorf("list files of %q: not installed", p.Name)
	}
	return r.contents, nil
}
