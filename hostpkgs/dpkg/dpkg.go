// Package dpkg reads the database of dpkg (Debian, Ubuntu): what is installed, what it depends on, which files it owns.
// It runs no program and writes nothing.
package dpkg

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sync"
	"syscall"

	"hdjail/hostpkgs"
)

// Database is the dpkg database below a root directory. It implements hostpkgs.Database; safe for concurrent use. Its
// status file is read at first need, and again when it has changed.
type Database struct {
	root  string
	mu    sync.Mutex
	state state
}

// state is what dpkg keeps lists of, by name and architecture, when the database had a fingerprint.
type state struct {
	fingerprint string
	present     map[string]stanza
}

// adminDir is where dpkg keeps its database (dpkg(1), FILES).
const adminDir = "var/lib/dpkg"

// Open returns the database of the host whose root directory is root, absolute and clean. A root without a dpkg database
// gives an error for which errors.Is(err, fs.ErrNotExist) holds.
func Open(root string) (*Database, error) {
	db := &Database{root: root}
	if _, err := os.Stat(db.admin("status")); err != nil {
		return nil, fmt.Errorf("open dpkg database: %w", err)
	}
	return db, nil
}

func (db *Database) admin(names ...string) string {
	return filepath.Join(db.root, adminDir, filepath.Join(names...))
}

// Fingerprint implements hostpkgs.Database. Every run of dpkg replaces the status file; what it has not merged yet is in
// the updates folder.
func (db *Database) Fingerprint(context.Context) (string, error) {
	return db.stamp("status", "diversions", "info", "updates")
}

// stamp describes files of the database so that a replaced one differs.
func (db *Database) stamp(names ...string) (string, error) {
	text := "dpkg"
	for _, name := range names {
		info, err := os.Stat(db.admin(name))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			text += " -"
			continue
		case err != nil:
			return "", fmt.Errorf("read dpkg database: %w", err)
		}
		inode := info.Sys().(*syscall.Stat_t).Ino
		text += fmt.Sprintf(" %d:%d:%d", info.Size(), info.ModTime().UnixNano(), inode)
	}
	return text, nil
}

// Packages implements hostpkgs.Database.
func (db *Database) Packages(context.Context) ([]hostpkgs.Package, error) { return db.packages(true) }

// Remains implements hostpkgs.Database.
func (db *Database) Remains(context.Context) ([]hostpkgs.Package, error) { return db.packages(false) }

// packages lists what is completely installed, or what is not.
func (db *Database) packages(installed bool) ([]hostpkgs.Package, error) {
	stanzas, err := db.present()
	if err != nil {
		return nil, err
	}
	native := ""
	for _, s := range stanzas {
		if s.Name == "dpkg" {
			native = s.Architecture
		}
	}
	packages := make([]hostpkgs.Package, 0, len(stanzas))
	for _, s := range stanzas {
		if s.installed == installed {
			s.Native = native == "" || s.Architecture == native || s.Architecture == "all"
			packages = append(packages, s.Package)
		}
	}
	return packages, nil
}

func (db *Database) present() (map[string]stanza, error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	fingerprint, err := db.Fingerprint(context.Background())
	if err != nil || fingerprint == db.state.fingerprint {
		return db.state.present, err
	}
	data, err := os.ReadFile(db.admin("status"))
	if err != nil {
		return nil, fmt.Errorf("read dpkg database: %w", err)
	}
	all, err := parseStatus(data)
	if err != nil {
		return nil, fmt.Errorf("read %q: %w", db.admin("status"), err)
	}
	present := map[string]stanza{}
	for _, s := range all {
		if s.present {
			present[s.Name+":"+s.Architecture] = s
		}
	}
	db.state = state{fingerprint, present}
	return present, nil
}

// Contents implements hostpkgs.Database.
func (db *Database) Contents(_ context.Context, p hostpkgs.Package) (hostpkgs.Contents, error) {
	stanzas, err := db.present()
	if err != nil {
		return hostpkgs.Contents{}, err
	}
	diverted, err := db.diversions()
	if err != nil {
		return hostpkgs.Contents{}, err
	}
	s, ok := stanzas[p.Name+":"+p.Architecture]
	if !ok {
		return hostpkgs.Contents{}, fmt.Errorf("list files of %q: not installed", p.Name)
	}
	base := p.Name
	if s.Coinstallable {
		base += ":" + p.Architecture
	}
	list, err := os.ReadFile(db.admin("info", base+".list"))
	if err != nil {
		return hostpkgs.Contents{}, fmt.Errorf("list files of %q: %w", p.Name, err)
	}
	stamp, err := db.stamp("info/"+base+".list", "info/"+base+".md5sums")
	if err != nil {
		return hostpkgs.Contents{}, err
	}
	var c hostpkgs.Contents
	sum := sha256.New()
	fmt.Fprintln(sum, p.Version, stamp)
	for line := range bytes.SplitSeq(list, []byte("\n")) {
		if len(line) == 0 || line[0] != '/' {
			continue
		}
		name := diverted.place(path.Clean(string(line)), p.Name)
		c.Paths = append(c.Paths, name)
		fmt.Fprintln(sum, name)
	}
	for _, name := range s.conffiles {
		c.Config = append(c.Config, diverted.place(name, p.Name))
	}
	c.Fingerprint = hex.EncodeToString(sum.Sum(nil))
	return c, nil
}
