package unpack

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// pack makes a tar from headers, each with a content of its Size unless that is negative; long fields come as PAX.
func pack(t testing.TB, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := io.CopyN(w, strings.NewReader(strings.Repeat("x", int(h.Size))), h.Size); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func file(name string) tar.Header { return tar.Header{Name: name, Size: 3} }
func dir(name string) tar.Header  { return tar.Header{Name: name, Typeflag: tar.TypeDir} }
func symlink(name, to string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: to}
}
func hardlink(name, to string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeLink, Linkname: to}
}
func special(name string, flag byte) tar.Header {
	return tar.Header{Name: name, Typeflag: flag, Devmajor: 1, Devminor: 3}
}

func packZip(t testing.TB, names ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, name := range names {
		f, err := w.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate})
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(name, "/") {
			f.Write([]byte("xxx"))
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// compress gives data to a compressor.
func compress(t testing.TB, w io.WriteCloser, b *bytes.Buffer, data []byte) []byte {
	t.Helper()
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gz(t testing.TB, data []byte) []byte {
	var b bytes.Buffer
	return compress(t, gzip.NewWriter(&b), &b, data)
}

func zst(t testing.TB, data []byte) []byte {
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b, zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	return compress(t, w, &b, data)
}

func xzip(t testing.TB, data []byte, dict int) []byte {
	var b bytes.Buffer
	w, err := xz.WriterConfig{DictCap: dict}.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	return compress(t, w, &b, data)
}

func patch(data []byte, old, new string) []byte {
	return bytes.ReplaceAll(data, []byte(old), []byte(new))
}

func hostile(t testing.TB) []struct {
	name, kind string
	data       []byte
} {
	deep := strings.Repeat("d/", maxDepth) + "f"
	good := pack(t, file("a"), file("b"))
	bigSize := pack(t, tar.Header{Name: "big", Size: 1 << 10, Format: tar.FormatGNU}, file("b"))
	copy(bigSize[124:136], "\x80\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff")
	fixChecksum(bigSize)
	slashed := pack(t, dir("d/"), file("a"))
	slashed[156] = tar.TypeReg
	fixChecksum(slashed)
	zipSize := packZip(t, "a", "b")
	return []struct {
		name, kind string
		data       []byte
	}{
		{"absolute file", "absolute", pack(t, file("/etc/x"), file("b"))},
		{"absolute directory", "absolute", pack(t, dir("/var/tmp/vec-outside"), file("b"))},
		{"absolute link", "absolute", pack(t, symlink("/l", "x"), file("b"))},
		{"dotdot first", "dotdot", pack(t, file("../x"), file("b"))},
		{"dotdot last", "dotdot", pack(t, file("b"), file("a/.."))},
		{"dotdot in the shared prefix", "dotdot", pack(t, file("../p/x"), file("../p/y"))},
		{"dotdot directory", "dotdot", pack(t, dir("a/../../x"), file("b"))},
		{"dotdot hard link", "dotdot", pack(t, file("a"), hardlink("../l", "a"))},
		{"file through a link", "through-symlink", pack(t, symlink("l", "/tmp"), file("l/x"))},
		{"file through a link to the top", "through-symlink", pack(t, symlink("l", "."), file("l/x"))},
		{"directory through a link", "through-symlink", pack(t, symlink("l", ".."), dir("l/x"))},
		{"link through a link", "through-symlink", pack(t, symlink("l", ".."), symlink("l/x", "/"))},
		{"deep through a link", "through-symlink", pack(t, file("a/b/f"), symlink("a/b/l", "/tmp"), file("a/b/l/c/d/e"))},
		{"hard link through a link", "link-outside", pack(t, file("f"), symlink("l", "/etc"), hardlink("h", "l/passwd"))},
		{"hard link to a link", "link-outside", pack(t, symlink("l", "/etc/passwd"), hardlink("h", "l"))},
		{"hard link to a directory", "link-outside", pack(t, dir("d"), hardlink("h", "d"))},
		{"hard link to itself", "link-outside", pack(t, file("a"), hardlink("h", "h"))},
		{"hard link to a later file", "link-outside", pack(t, file("a"), hardlink("h", "b"), file("b"))},
		{"hard link out", "link-outside", pack(t, file("a"), hardlink("h", "/etc/passwd"))},
		{"hard link up", "link-outside", pack(t, file("a"), hardlink("h", "../../etc/passwd"))},
		{"character device", "special", pack(t, file("a"), special("null", tar.TypeChar))},
		{"block device", "special", pack(t, file("a"), special("sda", tar.TypeBlock))},
		{"pipe", "special", pack(t, file("a"), special("p", tar.TypeFifo))},
		{"unknown member", "special", pack(t, file("a"), special("v", 'V'))},
		{"file twice", "conflict", pack(t, file("a"), file("a"))},
		{"file twice, spelled otherwise", "conflict", pack(t, file("a"), file("./a"))},
		{"link over a file", "conflict", pack(t, file("a"), symlink("a", "/etc"))},
		{"file over a link", "conflict", pack(t, symlink("a", "/etc/passwd"), file("a"))},
		{"hard link over a link", "conflict", pack(t, file("f"), symlink("a", "/etc/passwd"), hardlink("a", "f"))},
		{"directory over a link", "conflict", pack(t, symlink("a", "/etc"), dir("a"), file("b"))},
		{"directory over a file", "conflict", pack(t, file("a"), dir("a"))},
		{"file over a directory", "conflict", pack(t, file("a/x"), file("b"), file("a"))},
		{"below a file", "conflict", pack(t, file("a"), file("a/x"))},
		{"empty link", "name", pack(t, file("a"), symlink("l", ""))},
		{"file named dot", "name", pack(t, file("a"), file("."))},
		{"link named dot", "name", pack(t, file("a"), symlink("./", "x"))},
		{"file named like a directory", "name", slashed},
		{"long component", "limit", pack(t, file("a"), file(strings.Repeat("n", maxName+1)))},
		{"long path", "limit", pack(t, file("a"), file(strings.Repeat("n/", maxPath/2)+"x"))},
		{"deep path", "limit", pack(t, file("a"), file(deep))},
		{"long link", "limit", pack(t, file("a"), symlink("l", strings.Repeat("n", maxPath)))},
		{"size beyond the end", "archive", bigSize},
		{"size beyond the end, compressed", "archive", gz(t, bigSize)},
		{"nothing", "archive", nil},
		{"text", "archive", []byte("hello, world\n")},
		{"broken checksum", "archive", patch(pack(t, file("a"), file("b")), "b\x00\x00\x00\x00", "c\x00\x00\x00\x00")},
		{"truncated tar", "archive", good[:1100]},
		{"truncated gzip", "archive", gz(t, good)[:60]},
		{"gzip with a wrong checksum", "archive", flip(gz(t, good), -6)},
		{"garbage after gzip", "archive", append(gz(t, good), "garbage"...)},
		{"gzip of text", "archive", gz(t, []byte("hello"))},
		{"gzip of nothing", "archive", gz(t, nil)},
		{"gzip of gzip", "archive", gz(t, gz(t, good))},
		{"truncated zstd", "archive", zst(t, good)[:30]},
		{"truncated xz", "archive", xzip(t, good, 1<<20)[:60]},
		{"xz with a wrong checksum", "archive", flip(xzip(t, good, 1<<20), -40)},
		{"xz with a huge dictionary", "limit", hugeXZ(t, good)},
		{"zstd with a huge window", "archive", []byte("\x28\xb5\x2f\xfd\x00\xa8\x01\x00\x00")},
		{"zip absolute", "absolute", packZip(t, "/etc/x", "b")},
		{"zip dotdot", "dotdot", packZip(t, "a/../../x", "b")},
		{"zip twice", "conflict", packZip(t, "a", "a")},
		{"zip file over a directory", "conflict", packZip(t, "q", "a/", "a")},
		{"zip without members", "archive", packZip(t)},
		{"zip of an unknown method", "archive", patch(packZip(t, "a", "b"), "\x14\x00\x08\x00\x08\x00", "\x14\x00\x08\x00\x63\x00")},
		{"zip with a wrong checksum", "archive", flip(packZip(t, "a", "b"), 33)},
		{"truncated zip", "archive", zipSize[:len(zipSize)-30]},
	}
}

func fixChecksum(block []byte) {
	copy(block[148:156], "        ")
	sum := 0
	for _, c := range block[:512] {
		sum += int(c)
	}
	copy(block[148:156], fmt.Sprintf("%06o\x00 ", sum))
}

func flip(data []byte, at int) []byte {
	if at < 0 {
		at += len(data)
	}
	data[at] ^= 0x55
	return data
}

// hugeXZ says in the block header that 4 GiB of dictionary are needed.
func hugeXZ(t testing.TB, data []byte) []byte {
	x := xzip(t, data, 1<<20)
	at := bytes.Index(x, []byte{0x21, 0x01})
	x[at+2] = 40
	return x
}

func TestHostile(t *testing.T) {
	for _, c := range hostile(t) {
		t.Run(c.name, func(t *testing.T) {
			top := t.TempDir()
			inside := filepath.Join(top, "inside")
			if err := os.Mkdir(inside, 0o755); err != nil {
				t.Fatal(err)
			}
			err := unpack(t, inside, Options{}, c.data)
			if kind(err) != c.kind {
				t.Errorf("error %v, want refusal %q", err, c.kind)
			}
			if entries, err := os.ReadDir(top); err != nil || len(entries) != 1 {
				t.Errorf("beside the directory: %v %v", entries, err)
			}
		})
	}
}

// endless gives as many bytes as are asked for.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// TestBombs has small archives that want to become large: they stop at the limit, not at the end of the disk.
func TestBombs(t *testing.T) {
	const limit = 1 << 20
	var tarred bytes.Buffer
	w := tar.NewWriter(&tarred)
	if err := w.WriteHeader(&tar.Header{Name: "zeros", Size: 8 << 20, Mode: 0o644}); err != nil {
		t.Fatal(err)
	}
	io.CopyN(w, endless{}, 8<<20)
	w.Close()
	var zipped bytes.Buffer
	z := zip.NewWriter(&zipped)
	f, err := z.Create("zeros")
	if err != nil {
		t.Fatal(err)
	}
	io.CopyN(f, endless{}, 8<<20)
	z.Close()
	copies := []tar.Header{{Name: "a", Size: 100 << 10}}
	for i := range 11 {
		copies = append(copies, hardlink(fmt.Sprint("copy", i), "a"))
	}
	// A sparse file: 512 bytes of header promise 8 GiB of zeros.
	sparse := pack(t, tar.Header{Name: "s", Format: tar.FormatGNU, Size: 0}, file("b"))
	sparse[156] = tar.TypeGNUSparse
	copy(sparse[386:], "00000000000\x0000000000000\x00")
	copy(sparse[483:], "77777777777\x00")
	fixChecksum(sparse)
	for name, data := range map[string][]byte{"tar": tarred.Bytes(), "gz": gz(t, tarred.Bytes()), "zst": zst(t, tarred.Bytes()),
		"xz": xzip(t, tarred.Bytes(), 1<<20), "zip": zipped.Bytes(), "copies": pack(t, copies...), "sparse": sparse,
		"after the end": gz(t, append(pack(t, file("a")), make([]byte, 2<<20)...))} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := unpack(t, dir, Options{MaxBytes: limit}, data); kind(err) != "limit" {
				t.Errorf("error %v, want refusal \"limit\"", err)
			}
			var total int64
			for _, e := range sizes(t, dir) {
				total += e.Size()
			}
			if total > limit+1 {
				t.Errorf("%d bytes were written", total)
			}
		})
	}
}

// TestZipDirectory has a list of members that is too large to be kept.
func TestZipDirectory(t *testing.T) {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for i := range maxDirectory/65000 + 1 {
		if _, err := w.CreateHeader(&zip.FileHeader{Name: fmt.Sprint(i), Comment: strings.Repeat("c", 65000)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := unpack(t, t.TempDir(), Options{}, b.Bytes()); kind(err) != "limit" {
		t.Errorf("error %v, want refusal \"limit\"", err)
	}
}

func sizes(t *testing.T, dir string) []os.FileInfo {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	infos := make([]os.FileInfo, len(entries))
	for i, e := range entries {
		if infos[i], err = e.Info(); err != nil {
			t.Fatal(err)
		}
	}
	return infos
}

func TestTargets(t *testing.T) {
	one := pack(t, file("p/x"), file("p/d/y"))
	two := pack(t, file("p/z"), file("p/d/w"), symlink("p/l", "d"))
	for _, c := range []struct{ first, second, kind string }{
		{"", ".", ""}, {"a/b", "a", ""}, {"a", "b", ""}, {"d", "", ""}, {"x", "x", ""}, {"./a//", "a/c", ""},
		{"/a", "b", "target"}, {"a/../b", "", "target"}, {"..", "", "target"}, {strings.Repeat("n", 300), "", "target"},
		{"", "x", "conflict"}, {"", "l/x", ""}, {"", "d/y/q", "conflict"},
	} {
		dir := t.TempDir()
		err := unpack(t, dir, Options{Target: c.first}, one)
		if err == nil {
			err = unpack(t, dir, Options{Target: c.second}, two)
		}
		if kind(err) != c.kind || c.kind == "" && err != nil {
			t.Errorf("%q and %q: %v, want %q", c.first, c.second, err, c.kind)
		}
		if err != nil {
			continue
		}
		list(t, dir) // times and modes
		// Whatever came first, a link that is there now is not passed.
		if err := unpack(t, dir, Options{Target: filepath.Join(c.second, "l")}, one); kind(err) != "through-symlink" {
			t.Errorf("%q through a link: %v", c.second, err)
		}
	}
}

// TestWalk goes without openat2, as on Linux before 5.6.
func TestWalk(t *testing.T) {
	for _, c := range hostile(t) {
		tree, err := NewTree(open(t, t.TempDir()), Options{UID: os.Geteuid(), GID: os.Getegid()})
		if err != nil {
			t.Fatal(err)
		}
		tree.walkOnly = true
		if err := Archive(context.Background(), bytes.NewReader(c.data), int64(len(c.data)), tree); kind(err) != c.kind {
			t.Errorf("%s: error %v, want refusal %q", c.name, err, c.kind)
		}
		tree.Abort()
	}
}

func TestReadOnly(t *testing.T) {
	dir := t.TempDir()
	data := pack(t, file("a/x"), tar.Header{Name: "a/d/run", Mode: 0o700, Size: 1}, symlink("l", "a"))
	if err := unpack(t, dir, Options{ReadOnly: true}, data); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]os.FileMode{"": 0o555, "a": 0o555, "a/d": 0o555, "a/x": 0o444, "a/d/run": 0o555} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("mode of %q: %v %v, want %v", name, info.Mode(), err, want)
		}
	}
	for _, name := range []string{"", "a", "a/d"} {
		os.Chmod(filepath.Join(dir, name), 0o755)
	}
}

// TestOwner needs privilege to give files away; without it that is an error, never a file of the wrong owner.
func TestOwner(t *testing.T) {
	top := t.TempDir()
	tree, err := NewTree(open(t, top), Options{UID: 12345, GID: 12346})
	if err != nil {
		t.Fatal(err)
	}
	data := pack(t, file("d/x"), symlink("l", "d"))
	err = Archive(context.Background(), bytes.NewReader(data), int64(len(data)), tree)
	tree.Abort()
	if os.Geteuid() != 0 {
		if !errors.Is(err, os.ErrPermission) {
			t.Errorf("error %v, want a missing permission", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"d", "d/x", "l"} {
		if uid, gid := owner(t, filepath.Join(top, name)); uid != 12345 || gid != 12346 {
			t.Errorf("owner of %s is %d:%d", name, uid, gid)
		}
	}
}

func TestCopy(t *testing.T) {
	src, dst := t.TempDir(), t.TempDir()
	if err := unpack(t, src, Options{}, pack(t, file("a/x"), tar.Header{Name: "run", Mode: 0o700, Size: 1}, symlink("l", "/etc"), dir("e"), file("skip/x"))); err != nil {
		t.Fatal(err)
	}
	skipped, err := os.Stat(filepath.Join(src, "skip"))
	if err != nil {
		t.Fatal(err)
	}
	copyTo := func(dst string) error {
		tree, err := NewTree(open(t, dst), Options{UID: os.Geteuid(), GID: os.Getegid()})
		if err != nil {
			t.Fatal(err)
		}
		defer tree.Close()
		return Copy(context.Background(), open(t, src), tree, func(i os.FileInfo) bool { return os.SameFile(i, skipped) })
	}
	if err := copyTo(dst); err != nil {
		t.Fatal(err)
	}
	want := []entry{{Path: "a", Type: "dir"}, {Path: "a/x", Type: "file", Content: "xxx"}, {Path: "e", Type: "dir"},
		{Path: "l", Type: "symlink", Target: "/etc"}, {Path: "run", Type: "file", Content: "x", Executable: true}}
	if got := text(t, list(t, dst)); got != text(t, want) {
		t.Errorf("copied %s", got)
	}
	if err := copyTo(dst); kind(err) != "conflict" {
		t.Errorf("a second copy: %v", err)
	}
	mkfifo(t, filepath.Join(src, "pipe"))
	if err := copyTo(t.TempDir()); kind(err) != "special" {
		t.Errorf("a pipe: %v", err)
	}
}

func TestCancel(t *testing.T) {
	for _, data := range [][]byte{gz(t, pack(t, file("a"), file("b"))), packZip(t, "a", "b")} {
		ctx, cancel := context.WithCancelCause(context.Background())
		why := errors.New("enough")
		cancel(why)
		tree, err := NewTree(open(t, t.TempDir()), Options{UID: os.Geteuid(), GID: os.Getegid()})
		if err != nil {
			t.Fatal(err)
		}
		defer tree.Abort()
		if err := Archive(ctx, bytes.NewReader(data), int64(len(data)), tree); !errors.Is(err, why) {
			t.Errorf("error %v, want the cause", err)
		}
	}
}

func FuzzArchive(f *testing.F) {
	good := pack(f, file("p/a"), dir("p/d"), symlink("p/l", "a"), hardlink("p/h", "p/a"))
	for _, data := range [][]byte{good, gz(f, good), zst(f, good), xzip(f, good, 1<<20), packZip(f, "p/a", "p/d/", "p/b")} {
		f.Add(data)
	}
	for _, c := range hostile(f) {
		f.Add(c.data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		top := t.TempDir()
		inside := filepath.Join(top, "inside")
		if err := os.Mkdir(inside, 0o755); err != nil {
			t.Fatal(err)
		}
		err := unpack(t, inside, Options{MaxBytes: 1 << 20}, data)
		if err != nil && kind(err) == "" {
			t.Errorf("error without a kind: %v", err)
		}
		if entries, err := os.ReadDir(top); err != nil || len(entries) != 1 {
			t.Errorf("beside the directory: %v %v", entries, err)
		}
		if err == nil {
			list(t, inside)
		}
	})
}
