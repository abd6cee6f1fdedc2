package plan

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"hdjail/artifact"
	"hdjail/build/spec"
	"hdjail/hostpkgs"
	"hdjail/mounts"
	"hdjail/policies"
)

// hostPaths checks and identifies the whitelisted paths of a spec.
func (r *resolution) hostPaths(s *spec.Spec) ([]artifact.HostPath, error) {
	var list []artifact.HostPath
	for i, p := range s.Host.Paths {
		policy, err := r.policy.get(s.Policy, policies.Shipped)
		if err == nil {
			err = checkHostPath(p.Path, policy.Never, r.Home)
		}
		var found artifact.HostPath
		if err == nil {
			found, err = r.paths.get(p.Path+"\n"+p.ID, func(string) (artifact.HostPath, error) { return r.hostPath(p) })
		}
		if target, isLink := strings.CutPrefix(found.Identity, LinkIdentity); err == nil && isLink && !listed(s.Host.Paths, target) {
			err = fmt.Errorf("is a symbolic link to %s, which is not whitelisted", target)
		}
		if err != nil {
			return nil, s.ErrorAt("host.paths", i, fmt.Errorf("host path %q: %w", p.Path, err), "")
		}
		list = append(list, found)
	}
	slices.SortFunc(list, func(a, b artifact.HostPath) int { return strings.Compare(a.Path, b.Path) })
	return slices.Compact(list), nil
}

// LinkIdentity begins the identity of a whitelisted symbolic link; the absolute target follows.
const LinkIdentity = "link:"

// checkHostPath refuses what no spec can whitelist: the never list and what holds it, and whole homes.
func checkHostPath(path string, never []string, home string) error {
	if path == home || mounts.Below(path, home) {
		return errors.New("is or holds a home directory")
	}
	for _, secret := range never {
		if rest, inHome := strings.CutPrefix(secret, "~"); inHome {
			secret = home + rest
		}
		if path == secret || mounts.Below(secret, path) || mounts.Below(path, secret) {
			return fmt.Errorf("cannot be whitelisted, because %s never is", secret)
		}
	}
	return nil
}

func (r *resolution) hostPath(p spec.HostPath) (found artifact.HostPath, err error) {
	found.Path = p.Path
	found.Identity, err = HostIdentity(r.ctx, p.Path, func(ctx context.Context, path string) (artifact.TreeDigest, error) {
		if p.ID != "" {
			return artifact.TreeDigest{}, nil // what is declared needs no reading
		}
		return r.HostDigest(ctx, path)
	})
	if _, link := strings.CutPrefix(found.Identity, LinkIdentity); err == nil && p.ID != "" && !link {
		found.Identity = "id:" + p.ID
	}
	return found, err
}

// HostIdentity is that of a whitelisted path as it is now, as in artifact.HostPath, where none is declared. digest is like
// Resolver.HostDigest.
func HostIdentity(ctx context.Context, name string, digest func(context.Context, string) (artifact.TreeDigest, error)) (string, error) {
	parent, err := filepath.EvalSymlinks(filepath.Dir(name))
	if err != nil {
		return "", reason(err)
	}
	if parent != filepath.Dir(name) {
		return "", fmt.Errorf("lies behind a symbolic link; list %s", filepath.Join(parent, filepath.Base(name)))
	}
	info, err := os.Lstat(name)
	switch {
	case err != nil:
		return "", reason(err)
	case info.Mode()&os.ModeSymlink != 0:
		target, err := filepath.EvalSymlinks(name)
		return LinkIdentity + target, reason(err)
	case !info.IsDir() && !info.Mode().IsRegular():
		return "", errors.New("is neither a file nor a directory")
	}
	found, err := digest(ctx, name)
	return found.String(), reason(err)
}

func listed(paths []spec.HostPath, target string) bool {
	return slices.ContainsFunc(paths, func(p spec.HostPath) bool { return p.Path == target || mounts.Below(p.Path, target) })
}

// reason drops operation and path of an error of package os, which the caller says better.
func reason(err error) error {
	if path := (*os.PathError)(nil); errors.As(err, &path) {
		return path.Err
	}
	return err
}

// pinError puts a package that is not installed where the spec lists it.
func pinError(s *spec.Spec, err error) error {
	var missing *hostpkgs.NotInstalledError
	if !errors.As(err, &missing) {
		return s.ErrorAt("host.packages", -1, err, "")
	}
	at := slices.Index(s.Host.Packages, missing.Name)
	help := ""
	if len(missing.Near) > 0 {
		help = "installed are " + strings.Join(missing.Near, ", ")
	}
	return s.ErrorAt("host.packages", at, fmt.Errorf("host package %q is not installed: %w", missing.Name, err), help)
}
