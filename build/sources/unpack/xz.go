package unpack

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/ulikunitz/xz/lzma"
)

const xzMagic = "\xfd7zXZ\x00"

// checkXZ follows the blocks of an xz file (version 1.1.0 of its format) without decompressing them, and refuses one
// whose dictionary is larger than maxWindow: the decompressor makes it as large as the header says, up to 4 GiB.
func checkXZ(r io.Reader) error {
	in := &byteSource{r: bufio.NewReaderSize(r, 64<<10)}
	for {
		header := in.take(12)
		if in.err == io.EOF {
			return nil
		}
		if in.err != nil || string(header[:6]) != xzMagic {
			return fmt.Errorf("no xz stream: %w", in.err)
		}
		check := [16]int{0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64}[header[7]&15]
		for {
			size := int(in.take(1)[0])
			if size == 0 || in.err != nil {
				break
			}
			if err := checkBlock(in.take(size*4 + 3)); err != nil {
				return err
			}
			in.skipChunks()
			in.align()
			in.take(check)
		}
		for records := 2 * in.varint(); records > 0 && in.err == nil; records-- {
			in.varint()
		}
		in.align()
		in.take(4 + 12) // the index's checksum, the footer
		if in.err != nil {
			return fmt.Errorf("broken xz stream: %w", io.ErrUnexpectedEOF)
		}
		for next, _ := in.r.Peek(4); string(next) == "\x00\x00\x00\x00"; next, _ = in.r.Peek(4) {
			in.take(4)
		}
	}
}

// checkBlock looks at the header of a block, without its first byte. Only the LZMA2 filter alone can be decompressed.
func checkBlock(header []byte) error {
	in := &byteSource{r: bufio.NewReader(bytes.NewReader(header))}
	flags := in.take(1)[0]
	for bit := byte(0x40); bit != 0; bit <<= 1 {
		if flags&bit != 0 {
			in.varint()
		}
	}
	id, size := in.varint(), in.varint()
	dict, err := lzma.DecodeDictCap(in.take(1)[0])
	switch {
	case in.err != nil || err != nil || flags&3 != 0 || id != 0x21 || size != 1:
		return errors.New("xz filter is not LZMA2 alone")
	case dict > maxWindow:
		return refuse("limit", "")
	}
	return nil
}

// byteSource reads small fields; after an error it gives zeros, so that callers look at err once.
type byteSource struct {
	r   *bufio.Reader
	n   int64
	err error
}

func (s *byteSource) take(n int) []byte {
	b := make([]byte, n)
	if s.err != nil {
		return b
	}
	k, err := io.ReadFull(s.r, b)
	s.n += int64(k)
	s.err = err
	return b
}

func (s *byteSource) varint() uint64 {
	var v uint64
	for shift := 0; shift < 63; shift += 7 {
		b := s.take(1)[0]
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return v
		}
	}
	s.err = errors.New("number too long")
	return 0
}

func (s *byteSource) align() { s.take(int(-s.n & 3)) }

// skipChunks passes the LZMA2 chunks of a block.
func (s *byteSource) skipChunks() {
	for s.err == nil {
		control := s.take(1)[0]
		skip := 0
		switch {
		case control == 0:
			return
		case control < 3:
			skip = int(binary.BigEndian.Uint16(s.take(2))) + 1
		case control >= 0x80:
			skip = int(binary.BigEndian.Uint16(s.take(4)[2:])) + 1
			if control >= 0xc0 {
				skip++
			}
		}
		k, err := s.r.Discard(skip)
		s.n += int64(k)
		if s.err == nil {
			s.err = err
		}
	}
}
