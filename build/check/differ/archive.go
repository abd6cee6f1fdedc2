package differ

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// formats are tried in order.
func formats() []format {
	return []format{
		{isELF, locateELF},
		{magic("!<arch>\n"), locateAr},
		{magic("\x1f\x8b"), locateGzip},
		{magic("BZh"), unpacked("bzip2", func(r io.Reader) (io.Reader, error) { return bzip2.NewReader(r), nil })},
		{magic("\x28\xb5\x2f\xfd"), unpacked("zstd", newZstd)},
		{magic("PK\x03\x04"), locateZip},
		{func(head []byte) bool { return len(head) > 262 && string(head[257:262]) == "ustar" }, locateTar},
	}
}

func magic(text string) func([]byte) bool {
	return func(head []byte) bool { return bytes.HasPrefix(head, []byte(text)) }
}

func newZstd(r io.Reader) (io.Reader, error) {
	d, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(8<<20), zstd.WithDecoderMaxMemory(maxUnpacked))
	if err != nil {
		return nil, err
	}
	return d.IOReadCloser(), nil
}

var errTooLarge = errors.New("too large to look into")

// slurp reads what is unpacked into memory.
func slurp(r io.Reader) (content, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxUnpacked+1))
	if closer, ok := r.(io.Closer); ok {
		closer.Close()
	}
	if err == nil && len(data) > maxUnpacked {
		err = errTooLarge
	}
	return content{bytes.NewReader(data), int64(len(data))}, err
}

// unpacked goes on in what two compressed files hold.
func unpacked(name string, open func(io.Reader) (io.Reader, error)) func(context.Context, *Difference, pair, int) {
	return func(ctx context.Context, d *Difference, p pair, depth int) {
		d.in("%s", name)
		var sides [2]content
		for i, c := range []content{p.a, p.b} {
			r, err := open(c.reader())
			if err == nil {
				sides[i], err = slurp(r)
			}
			if err != nil {
				return
			}
		}
		d.inside(ctx, sides[0], sides[1], depth)
	}
}

func locateGzip(ctx context.Context, d *Difference, p pair, depth int) {
	a, err1 := gzip.NewReader(p.a.reader())
	b, err2 := gzip.NewReader(p.b.reader())
	if err1 == nil && err2 == nil {
		switch {
		case !a.ModTime.Equal(b.ModTime):
			d.in("gzip header")
			d.value("modification time", a.ModTime.UTC(), b.ModTime.UTC())
			return
		case a.Name != b.Name:
			d.in("gzip header")
			d.value("name", a.Name, b.Name)
			return
		}
	}
	unpacked("gzip", func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) })(ctx, d, p, depth)
}

// field is one field of the header of a member.
type field struct {
	name          string
	first, second any
}

// member says which of the fields of a member differs, if one does.
func (d *Difference) member(name string, fields ...field) bool {
	for _, f := range fields {
		if f.first != f.second {
			d.in("member %q", name)
			d.value(f.name, f.first, f.second)
			return true
		}
	}
	return false
}

func locateTar(ctx context.Context, d *Difference, p pair, depth int) {
	a, b := tar.NewReader(p.a.reader()), tar.NewReader(p.b.reader())
	for ctx.Err() == nil {
		x, err1 := a.Next()
		y, err2 := b.Next()
		switch {
		case err1 == nil && err2 != nil:
			d.value("further member", x.Name, "none")
			return
		case err2 == nil && err1 != nil:
			d.value("further member", "none", y.Name)
			return
		case err1 != nil:
			return
		case x.Name != y.Name:
			d.value("order or names of members", x.Name, y.Name)
			return
		}
		if d.member(x.Name, field{"type", string(x.Typeflag), string(y.Typeflag)}, field{"link", x.Linkname, y.Linkname},
			field{"mode", strconv.FormatInt(x.Mode, 8), strconv.FormatInt(y.Mode, 8)},
			field{"modification time", x.ModTime.UTC(), y.ModTime.UTC()}, field{"owner", x.Uname + ":" + x.Gname, y.Uname + ":" + y.Gname},
			field{"owner", [2]int{x.Uid, x.Gid}, [2]int{y.Uid, y.Gid}}) {
			return
		}
		if d.between(ctx, x.Name, a, b, depth) {
			return
		}
	}
}

// between goes on in a member of two archives, and reports whether that differs.
func (d *Difference) between(ctx context.Context, name string, a, b io.Reader, depth int) bool {
	x, err1 := slurp(a)
	y, err2 := slurp(b)
	if err1 != nil || err2 != nil {
		return false
	}
	_, same, err := firstDifference(ctx, x, y)
	if same || err != nil {
		return false
	}
	d.in("member %q", name)
	d.inside(ctx, x, y, depth)
	return true
}

func locateZip(ctx context.Context, d *Difference, p pair, depth int) {
	a, err1 := zip.NewReader(p.a, p.a.size)
	b, err2 := zip.NewReader(p.b, p.b.size)
	if err1 != nil || err2 != nil {
		return
	}
	for i := range max(len(a.File), len(b.File)) {
		switch {
		case i >= len(b.File):
			d.value("further member", a.File[i].Name, "none")
			return
		case i >= len(a.File):
			d.value("further member", "none", b.File[i].Name)
			return
		case a.File[i].Name != b.File[i].Name:
			d.value("order or names of members", a.File[i].Name, b.File[i].Name)
			return
		}
		x, y := a.File[i], b.File[i]
		if d.member(x.Name, field{"modification time", x.Modified.UTC(), y.Modified.UTC()}, field{"mode", x.Mode(), y.Mode()},
			field{"compression", x.Method, y.Method}) {
			return
		}
		if x.CRC32 == y.CRC32 && x.UncompressedSize64 == y.UncompressedSize64 {
			continue
		}
		f, err1 := x.Open()
		g, err2 := y.Open()
		if err1 != nil || err2 != nil || d.between(ctx, x.Name, f, g, depth) {
			return
		}
	}
}

// arHeader is the length of a member's header (ar.h).
const arHeader = 60

// arMember is a member of an archive of the linker.
type arMember struct {
	name, date, owner, mode string
	content                 content
}

// arMembers reads an archive as far as it makes sense. Long names are in a member of their own (GNU), or lead a member (BSD).
func arMembers(c content) (list []arMember) {
	var long []byte
	for at := int64(8); at+arHeader <= c.size; {
		head := make([]byte, arHeader)
		if readFull(c, head, at) != nil {
			return list
		}
		text := func(from, to int) string { return strings.TrimRight(string(head[from:to]), " ") }
		size, err := strconv.ParseInt(text(48, 58), 10, 64)
		if err != nil || size < 0 || size > c.size-at-arHeader {
			return list
		}
		m := arMember{name: text(0, 16), date: text(16, 28), owner: text(28, 34) + ":" + text(34, 40), mode: text(40, 48),
			content: c.part(at+arHeader, size)}
		if m.name == "//" && size <= maxUnpacked {
			long = make([]byte, size)
			if readFull(m.content, long, 0) != nil {
				return list
			}
		}
		if start, err := strconv.Atoi(strings.TrimPrefix(m.name, "/")); err == nil && m.name[0] == '/' && start >= 0 && start < len(long) {
			name, _, _ := bytes.Cut(long[start:], []byte{'\n'})
			m.name = string(name)
		}
		if len(m.name) > 1 && m.name != "//" {
			m.name = strings.TrimSuffix(m.name, "/")
		}
		list = append(list, m)
		at += arHeader + size + size%2
	}
	return list
}

func locateAr(ctx context.Context, d *Difference, p pair, depth int) {
	a, b := arMembers(p.a), arMembers(p.b)
	for i := range max(len(a), len(b)) {
		switch {
		case i >= len(b):
			d.value("further member", a[i].name, "none")
			return
		case i >= len(a):
			d.value("further member", "none", b[i].name)
			return
		case a[i].name != b[i].name:
			d.value("order or names of members", a[i].name, b[i].name)
			return
		}
		x, y := a[i], b[i]
		if d.member(x.name, field{"modification time", x.date, y.date}, field{"owner", x.owner, y.owner}, field{"mode", x.mode, y.mode}) {
			return
		}
		if _, same, err := firstDifference(ctx, x.content, y.content); !same && err == nil {
			d.in("member %q", x.name)
			d.inside(ctx, x.content, y.content, depth)
			return
		}
	}
}
