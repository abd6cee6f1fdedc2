package build

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"hdjail/build/jailplan"
	"hdjail/hostpkgs"
	"hdjail/jail"
	"hdjail/mounts"
	"hdjail/policies"
)

// HostTree lists the root directory of this machine as modes log and off show it: directories, files and links.
func HostTree() (hostpkgs.Tree, error) {
	entries, err := os.ReadDir("/")
	if err != nil {
		return hostpkgs.Tree{}, fmt.Errorf("list host: %w", err)
	}
	tree := hostpkgs.Tree{Path: "/"}
	for _, e := range entries {
		top := hostpkgs.TopEntry{Name: e.Name(), IsDir: e.IsDir()}
		switch {
		case e.Type()&os.ModeSymlink != 0:
			if top.Link, err = os.Readlink("/" + e.Name()); err != nil {
				return tree, fmt.Errorf("list host: %w", err)
			}
		case !e.IsDir() && !e.Type().IsRegular():
			continue
		}
		tree.Top = append(tree.Top, top)
	}
	return tree, nil
}

// Secrets finds what of the policy's never list exists on this machine. home is the caller's home directory.
func Secrets(p policies.Policy, home string) []jailplan.Secret {
	var list []jailplan.Secret
	for _, never := range p.Never {
		if rest, inHome := strings.CutPrefix(never, "~"); inHome {
			if home == "" {
				continue
			}
			never = home + rest
		}
		resolved, err := filepath.EvalSymlinks(never)
		if err != nil {
			continue // not there, or not for this user to see
		}
		info, err := os.Stat(resolved)
		if err != nil || !info.IsDir() && !info.Mode().IsRegular() {
			continue
		}
		list = append(list, jailplan.Secret{Path: resolved, Directory: info.IsDir()})
	}
	return list
}

// PrepareScratch makes in the scratch what the planned jail needs there: an empty file to hide others behind, and mount
// points below the scratch's own directories. The build has not run, so nothing there is hostile but unpacked sources.
func PrepareScratch(c jail.Config) error {
	root, err := os.OpenRoot(c.Scratch.Dir)
	if err != nil {
		return fmt.Errorf("prepare scratch: %w", err)
	}
	defer root.Close()
	blank := jailplan.Blank(c.Scratch)
	if slices.ContainsFunc(c.Mounts.Entries, func(e mounts.Entry) bool { return e.Source == blank }) {
		if err := emptyFile(root, filepath.Base(blank)); err != nil {
			return fmt.Errorf("prepare scratch: %w", err)
		}
	}
	for _, e := range c.Mounts.Entries {
		over, below := c.Mounts.Under(e.Target)
		inScratch, ours := strings.CutPrefix(over.Source, c.Scratch.Dir+"/")
		if !below || !ours || !e.Mounted() {
			continue
		}
		name := inScratch + strings.TrimPrefix(e.Target, over.Target)
		if err := errors.Join(mountpoint(root, name, e), own(root, name, c.Scratch)); err != nil {
			return fmt.Errorf("prepare mount point %q: %w", e.Target, err)
		}
	}
	return nil
}

// own gives a mount point, and the directories made for it, to the jail's owner.
func own(root *os.Root, name string, s *jail.Scratch) error {
	for ; strings.Contains(name, "/"); name = filepath.Dir(name) {
		if err := root.Lchown(name, s.UID, s.GID); err != nil {
			return err
		}
	}
	return nil
}

func mountpoint(root *os.Root, name string, e mounts.Entry) error {
	if e.IsDir() {
		return root.MkdirAll(name, 0o755)
	}
	if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return emptyFile(root, name)
}

// emptyFile makes an empty file that everybody can read, whatever the umask, unless there is something.
func emptyFile(root *os.Root, name string) error {
	file, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o444)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(file.Chmod(0o444), file.Close())
}
