package differ

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
)

// content is the bytes of a file, or of a part of one.
type content struct {
	io.ReaderAt
	size int64
}

func (c content) reader() io.Reader { return io.NewSectionReader(c, 0, c.size) }

func (c content) part(offset, size int64) content {
	return content{io.NewSectionReader(c, offset, size), size}
}

// Bounds of what is looked at to tell where two files differ.
const (
	block = 64 << 10
	// maxDepth is how many archives in archives are opened.
	maxDepth = 4
	// maxUnpacked is how many bytes are unpacked of one compressed file or member.
	maxUnpacked = 32 << 20
	// maxLine is how much of a line is shown.
	maxLine = 200
)

// contents compares two files.
func contents(ctx context.Context, a, b content) (Difference, bool, error) {
	offset, same, err := firstDifference(ctx, a, b)
	if err != nil || same {
		return Difference{}, false, err
	}
	d := Difference{Kind: Content, Offset: offset, Sizes: [2]int64{a.size, b.size}}
	d.locate(ctx, a, b, offset, maxDepth)
	return d, true, nil
}

// firstDifference is the first byte that differs; where one is the beginning of the other, the first that only one has.
func firstDifference(ctx context.Context, a, b content) (offset int64, same bool, err error) {
	x, y := make([]byte, block), make([]byte, block)
	length := min(a.size, b.size)
	for offset < length {
		if err := ctx.Err(); err != nil {
			return offset, false, context.Cause(ctx)
		}
		n := int(min(block, length-offset))
		if err := readFull(a, x[:n], offset); err != nil {
			return offset, false, err
		}
		if err := readFull(b, y[:n], offset); err != nil {
			return offset, false, err
		}
		if !bytes.Equal(x[:n], y[:n]) {
			for i := range n {
				if x[i] != y[i] {
					return offset + int64(i), false, nil
				}
			}
		}
		offset += int64(n)
	}
	return offset, a.size == b.size, nil
}

// readFull reads what there is, a file whose end comes early is an error.
func readFull(c content, buf []byte, at int64) error {
	n, err := c.ReadAt(buf, at)
	if n == len(buf) {
		return nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// head is the beginning of a file.
func (c content) head() []byte {
	buf := make([]byte, 512)
	n, _ := c.ReadAt(buf, 0) // what cannot be read has no format
	return buf[:n]
}

// locate says in which part of two files, which differ from offset on, that is. What goes wrong within a format is no error:
// then that much is not known.
func (d *Difference) locate(ctx context.Context, a, b content, offset int64, depth int) {
	if depth == 0 || ctx.Err() != nil {
		return
	}
	x, y := a.head(), b.head()
	for _, f := range formats() {
		if f.is(x) && f.is(y) {
			f.locate(ctx, d, pair{a, b, offset}, depth-1)
			return
		}
	}
	if isText(a, offset) && isText(b, offset) {
		d.line(a, b, offset)
	}
}

// pair is two contents that differ from offset on.
type pair struct {
	a, b   content
	offset int64
}

// format is a kind of file that has parts.
type format struct {
	is     func(head []byte) bool
	locate func(ctx context.Context, d *Difference, p pair, depth int)
}

func (d *Difference) in(place string, args ...any) {
	d.Place = append(d.Place, fmt.Sprintf(place, args...))
}

// value ends a place: a field of some header, which is first here and second there.
func (d *Difference) value(name string, first, second any) {
	d.in("%s", name)
	d.First, d.Second = fmt.Sprint(first), fmt.Sprint(second)
}

// inside goes on in parts of both files.
func (d *Difference) inside(ctx context.Context, a, b content, depth int) {
	if offset, same, err := firstDifference(ctx, a, b); err == nil && !same {
		d.in("byte %d", offset)
		before := len(d.Place)
		d.locate(ctx, a, b, offset, depth)
		if len(d.Place) > before { // a better word than a number
			d.Place = append(d.Place[:before-1], d.Place[before:]...)
		}
	}
}

// isText reports whether what is around offset, and at the beginning, looks like text.
func isText(c content, offset int64) bool {
	for _, at := range []int64{0, max(0, offset-block/2)} {
		buf := make([]byte, min(block, max(0, c.size-at)))
		if readFull(c, buf, at) != nil || bytes.IndexByte(buf, 0) >= 0 {
			return false
		}
		control := func(r rune) bool { return r < ' ' && !strings.ContainsRune("\t\n\v\f\r\b\x1b", r) }
		if bytes.IndexFunc(buf, control) >= 0 {
			return false
		}
	}
	return true
}

// line shows the lines of two texts that differ.
func (d *Difference) line(a, b content, offset int64) {
	number, start := int64(1), int64(0)
	buf := make([]byte, block)
	for at := int64(0); at < offset; {
		n := int(min(block, offset-at))
		if readFull(a, buf[:n], at) != nil {
			return
		}
		number += int64(bytes.Count(buf[:n], []byte{'\n'}))
		if last := bytes.LastIndexByte(buf[:n], '\n'); last >= 0 {
			start = at + int64(last) + 1
		}
		at += int64(n)
	}
	d.in("line %d", number)
	d.First, d.Second = lineAt(a, start, offset), lineAt(b, start, offset)
}

// lineAt is the line that begins at start, or the part of a long one around offset.
func lineAt(c content, start, offset int64) string {
	cut := ""
	if offset-start > maxLine/2 {
		start, cut = offset-maxLine/4, "…"
	}
	buf := make([]byte, min(maxLine, max(0, c.size-start)))
	if readFull(c, buf, start) != nil {
		return ""
	}
	line, _, ended := bytes.Cut(buf, []byte{'\n'})
	text := cut + strings.ToValidUTF8(string(line), "\uFFFD")
	if !ended && start+int64(len(buf)) < c.size {
		text += "…"
	}
	return text
}
