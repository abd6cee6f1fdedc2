package unpack

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/bzip2"
	"errors"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// Detect tells what the bytes of r are: "tar", "tar.gz", "tar.bz2", "tar.xz", "tar.zst", "zip", or "" for none of these.
// Whether a compressed stream holds a tar is seen only when it is unpacked.
func Detect(r io.ReaderAt) string {
	head := make([]byte, 512)
	n, err := r.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return ""
	}
	for _, m := range magics {
		if bytes.HasPrefix(head[:n], []byte(m.magic)) {
			return m.format
		}
	}
	if _, err := tar.NewReader(io.NewSectionReader(r, 0, 1<<62)).Next(); err == nil || errors.Is(err, tar.ErrInsecurePath) {
		return "tar"
	}
	return ""
}

var magics = []struct{ magic, format string }{
	{"\x1f\x8b", "tar.gz"},
	{"BZh", "tar.bz2"},
	{xzMagic, "tar.xz"},
	{"\x28\xb5\x2f\xfd", "tar.zst"},
	{"PK\x03\x04", "zip"},
	{"PK\x05\x06", "zip"},
}

// decompress opens the tar stream; the caller calls the function.
func (a *archive) decompress() (io.Reader, func(), error) {
	in := bufio.NewReaderSize(&contextReader{a.ctx, io.NewSectionReader(a.r, 0, a.size)}, 128<<10)
	none := func() {}
	switch a.format {
	case "tar":
		return in, none, nil
	case "tar.gz":
		r, err := gzip.NewReader(in)
		return r, none, err
	case "tar.bz2":
		return bzip2.NewReader(in), none, nil
	case "tar.xz":
		if err := checkXZ(io.NewSectionReader(a.r, 0, a.size)); err != nil {
			return nil, nil, err
		}
		r, err := xz.NewReader(in)
		return r, none, err
	case "tar.zst":
		r, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, nil, err
		}
		return r, r.Close, nil
	}
	return nil, nil, errors.New("no archive of a known format")
}
