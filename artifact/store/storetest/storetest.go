// Package storetest makes stores for the tests of other packages. It is no part of the product, and what plays a build belongs
// to the test that needs it.
package storetest

import (
	"errors"
	"os"
	"path/filepath"

	"hdjail/artifact/store"
	"hdjail/artifact/tree"
)

// Tester is what *testing.T, *testing.B and *rapid.T have in common.
type Tester interface {
	Helper()
	Fatal(args ...any)
	Cleanup(func())
}

// Must ends the test at the first error.
func Must(t Tester, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// Memory is a directory in memory, where no registration waits for a disk; empty where there is none.
func Memory() string {
	const dir = "/dev/shm"
	if _, err := os.Stat(dir); err != nil {
		return ""
	}
	return dir
}

// Open makes a store below dir, or the system's directory for temporary files if that is empty. It is removed at the end.
func Open(t Tester, dir string, o store.Options) *store.Store {
	t.Helper()
	parent, err := os.MkdirTemp(dir, "hdjail-store-test-")
	Must(t, err, os.Chmod(parent, 0o755))
	s, err := store.Open(parent+"/store", o)
	Must(t, err)
	t.Cleanup(func() {
		up, err := os.Open(filepath.Dir(parent))
		Must(t, err, s.Close())
		defer up.Close()
		Must(t, tree.Remove(up, filepath.Base(parent)))
	})
	return s
}
