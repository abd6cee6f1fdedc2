package pack

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"

	"hdjail/artifact"
)

// zstdMagic is what a compressed archive begins with (RFC 8878 section 3.1.1).
const zstdMagic = "\x28\xb5\x2f\xfd"

// ReadHave reads which realizations somebody has: from an archive those that are in it or that it leaves out, else from
// text those whose IDs are the first words of the lines. Any other text gives *artifact.BadIDError.
func ReadHave(ctx context.Context, r io.Reader) (map[artifact.RealizationID]bool, error) {
	in := bufio.NewReader(r)
	ids := map[artifact.RealizationID]bool{}
	if start, _ := in.Peek(len(zstdMagic)); string(start) != zstdMagic {
		return ids, readIDs(in, ids)
	}
	a, done, err := decompress(ctx, in, 0)
	if err != nil {
		return nil, err
	}
	defer done()
	var h Header
	if err := a.expect(headerName); err != nil {
		return nil, err
	}
	if _, err := a.json(&h); err != nil {
		return nil, err
	}
	for _, id := range h.Realizations {
		ids[id] = true
	}
	for _, o := range h.Omitted {
		ids[o.Realization] = true
	}
	return ids, nil
}

func readIDs(r io.Reader, ids map[artifact.RealizationID]bool) error {
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		words := strings.Fields(lines.Text())
		if len(words) == 0 {
			continue
		}
		id, err := artifact.ParseRealizationID(words[0])
		if err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		ids[id] = true
	}
	return lines.Err()
}
