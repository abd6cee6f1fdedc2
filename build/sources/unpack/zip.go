package unpack

import (
	"archive/tar"
	"archive/zip"
	"context"
	"errors"
	"io"
	"math"
	"strings"
)

// eachZip reads a zip by its central directory. Its members are plain files and directories, whatever their attributes.
func (a *archive) eachZip(f func(member) error) error {
	in := &directoryReader{a.r, maxDirectory}
	z, err := zip.NewReader(in, a.size)
	if err != nil && !(errors.Is(err, zip.ErrInsecurePath) && z != nil) {
		return a.unreadable(err)
	}
	in.left = math.MaxInt64
	for _, file := range z.File {
		if a.ctx.Err() != nil {
			return context.Cause(a.ctx)
		}
		switch {
		case file.Name == "":
			err = refuse("name", "")
		case strings.HasSuffix(file.Name, "/"):
			err = f(member{name: file.Name, kind: tar.TypeDir, counts: true})
		default:
			err = a.zipFile(file, f)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (a *archive) zipFile(file *zip.File, f func(member) error) error {
	content, err := file.Open()
	if err != nil {
		return a.unreadable(err)
	}
	defer content.Close()
	size := int64(min(file.UncompressedSize64, math.MaxInt64))
	r := &memberReader{a, &contextReader{a.ctx, content}}
	return f(member{name: file.Name, kind: tar.TypeReg, Content: Content{Reader: r, Size: size}, counts: true})
}

// directoryReader bounds what is read while the central directory is taken into memory.
type directoryReader struct {
	r    io.ReaderAt
	left int64
}

func (d *directoryReader) ReadAt(p []byte, off int64) (int, error) {
	if d.left -= int64(len(p)); d.left < 0 {
		return 0, refuse("limit", "")
	}
	return d.r.ReadAt(p, off)
}
