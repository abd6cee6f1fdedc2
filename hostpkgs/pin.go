package hostpkgs

import (
	"context"
	"errors"
)

// Show is Pin with what else there is to say about the closure.
func (h *Host) Show(ctx context.Context, names []string) (Report, error) {
	return Report{}, errors.ErrUnsupported
}
