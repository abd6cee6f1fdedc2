package tree

import (
	"context"
	"os"
)

// Bytes is the size of all files below the directory root together. A file with several names counts for each.
func Bytes(ctx context.Context, root *os.File) (total int64, err error) {
	err = Walk(ctx, root, false, func(n *Node) error {
		if n.Kind == File || n.Kind == Executable {
			total += n.Stat.Size
		}
		return nil
	})
	return total, err
}
