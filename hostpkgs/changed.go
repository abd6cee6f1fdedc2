package hostpkgs

import (
	"context"
	"fmt"
	"slices"

	"hdjail/hostpkgs/index"
)

// Pin identifies a pinned package. Digest is in text form.
type Pin struct{ Name, Architecture, Version, Digest string }

// Change tells how the host differs from a pin now. Version is what is installed, "" for nothing.
type Change struct {
	Kind    ChangeKind `json:"kind"`
	Version string     `json:"version,omitempty"`
}

// ChangeKind is the kind of a Change.
type ChangeKind string

// Kinds of changes. Unverified is no change yet: the package, of the same version, was installed anew or a file of its
// configuration was touched since anything of this state was pinned; pinning it again settles whether its digest differs.
const (
	Removed    ChangeKind = "removed"
	Upgraded   ChangeKind = "version"
	Altered    ChangeKind = "content"
	Unverified ChangeKind = "unverified"
)

// Changed returns how the host differs from pins now, for those from which it does. It copies nothing and reads no file
// of a package: of a content it knows what Pin has recorded. HostLinks is unchanged if the same links were pinned since
// an alternative changed, else Unverified.
func (h *Host) Changed(ctx context.Context, pins []Pin) (map[Pin]Change, error) {
	x, err := h.Index(ctx)
	if err != nil {
		return nil, err
	}
	links := h.stamps(linkWatch)
	seen, changed := map[Pin]bool{}, map[Pin]Change{}
	for _, pin := range pins {
		if seen[pin] {
			continue
		}
		seen[pin] = true
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("compare pinned packages: %w", err)
		}
		change := Change{Version: pin.Version}
		if pin.Name == HostLinks {
			change.Kind = h.compare(linksKey(pin.Digest, links), pin.Digest)
		} else {
			change = h.change(x, pin)
		}
		if change.Kind != "" {
			changed[pin] = change
		}
	}
	return changed, nil
}

func (h *Host) change(x *index.Index, pin Pin) Change {
	var now string
	for _, p := range x.Installed(pin.Name) {
		switch {
		case p.Architecture == pin.Architecture && p.Version == pin.Version:
			key, _ := h.packageKey(p.Name, p.Architecture, p.Version, Contents{Config: p.Config, Fingerprint: p.Fingerprint})
			return Change{h.compare(key, pin.Digest), p.Version}
		case p.Architecture == pin.Architecture || isIndependent(p.Architecture) || isIndependent(pin.Architecture):
			now = p.Version
		}
	}
	if now == "" {
		return Change{Kind: Removed}
	}
	return Change{Upgraded, now}
}

// isIndependent reports whether packages of an architecture are for all: such a one may have become one of them.
func isIndependent(architecture string) bool {
	return slices.Contains([]string{"all", "noarch"}, architecture)
}

// compare returns how a recorded snapshot differs from a digest, "" for not at all.
func (h *Host) compare(key, digest string) ChangeKind {
	var known Pinned
	switch {
	case !load(h.cacheFile(key), &known) || !isDigest(known.Digest):
		return Unverified
	case known.Digest != digest:
		return Altered
	}
	return ""
}
