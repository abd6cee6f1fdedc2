package hostpkgs

import (
	"context"
	"errors"
)

// Compose returns the tree that shows pins, a result of Pin, and nothing else of the host.
func (h *Host) Compose(ctx context.Context, pins []Pinned, mountpoints []Mountpoint) (Tree, error) {
	return Tree{}, errors.ErrUnsupported
}
