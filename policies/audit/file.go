package audit

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/klauspost/compress/zstd"
	"github.com/zeebo/blake3"
)

// maxLine bounds a line of the file, in bytes; the longest is what was found in the output.
const maxLine = 16 << 20

// FormatError is an audit of another version of the format.
type FormatError struct{ Version int }

// Error implements error: one line.
func (e *FormatError) Error() string {
	return fmt.Sprintf("read audit: its format is version %d, this hdjail reads version %d", e.Version, Format)
}

// MalformedError is a file that is no audit, or a damaged one. Line is 0 where there are no lines.
type MalformedError struct {
	Line   int
	Reason string
}

// Error implements error: one line.
func (e *MalformedError) Error() string {
	if e.Line == 0 {
		return "read audit: " + e.Reason
	}
	return fmt.Sprintf("read audit: line %d: %s", e.Line, e.Reason)
}

func malformed(reason string) error { return &MalformedError{Reason: reason} }

// TruncatedError is an audit whose end is missing. What was read of it is returned beside the error, marked incomplete.
type TruncatedError struct{ Lines int }

// Error implements error: one line.
func (e *TruncatedError) Error() string {
	return fmt.Sprintf("read audit: the file ends early, after %d lines", e.Lines)
}

// Write writes an audit as lines of JSON, compressed with zstd. The accesses come sorted by operation, path and outcome;
// the first error that they bring ends the writing.
func Write(w io.Writer, head Header, processes []Process, accesses iter.Seq2[Access, error], rest Rest) error {
	encoder, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest),
		zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(512<<10))
	if err != nil {
		return fmt.Errorf("write audit: %w", err)
	}
	f := &fileWriter{out: bufio.NewWriterSize(encoder, 64<<10), digest: blake3.New()}
	if err := f.all(head, processes, accesses, rest); err != nil {
		return errors.Join(fmt.Errorf("write audit: %w", err), encoder.Close())
	}
	if err := errors.Join(f.out.Flush(), encoder.Close()); err != nil {
		return fmt.Errorf("write audit: %w", err)
	}
	return nil
}

type fileWriter struct {
	out    *bufio.Writer
	digest *blake3.Hasher
}

func (f *fileWriter) all(head Header, processes []Process, accesses iter.Seq2[Access, error], rest Rest) error {
	head.Format = Format
	if err := f.line("header", head); err != nil {
		return err
	}
	e := end{Processes: len(processes), Events: len(rest.Events)}
	for _, p := range processes {
		if err := f.line("process", encodeProcess(p)); err != nil {
			return err
		}
	}
	for a, err := range accesses {
		if err != nil {
			return err
		}
		if err := f.line("access", encodeAccess(a)); err != nil {
			return err
		}
		e.Accesses++
	}
	for _, event := range rest.Events {
		if err := f.line("event", event); err != nil {
			return err
		}
	}
	if rest.Output != nil {
		if err := f.line("output", outputLine{rest.Output}); err != nil {
			return err
		}
	}
	e.Digest = hex.EncodeToString(f.digest.Sum(nil))
	return f.line("end", e)
}

// outputLine is the line with what was found in the output.
type outputLine struct {
	Report json.RawMessage `json:"report"`
}

func (f *fileWriter) line(kind string, fields any) error {
	text, err := marshalLine(kind, fields)
	if err != nil {
		return err
	}
	f.digest.Write(text)
	_, err = f.out.Write(text)
	return err
}

// Read reads an audit in any of its forms: the compressed file, its lines, or the document. Another version gives
// *FormatError, a missing end *TruncatedError with what there is, anything else that is wrong *MalformedError.
func Read(r io.Reader) (*Audit, error) {
	in := bufio.NewReaderSize(r, 64<<10)
	magic, _ := in.Peek(4)
	if string(magic) == "\x28\xb5\x2f\xfd" { // RFC 8878, 3.1.1
		decoder, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(8<<20))
		if err != nil {
			return nil, fmt.Errorf("read audit: %w", err)
		}
		defer decoder.Close()
		return readLines(bufio.NewReaderSize(decoder, 64<<10))
	}
	start, _ := in.Peek(9)
	if string(start) == `{"line":"` {
		return readLines(in)
	}
	return readDocument(in)
}

// lineReader puts an Audit together, a line at a time.
type lineReader struct {
	audit  Audit
	lines  int
	ended  bool
	digest *blake3.Hasher
}

func readLines(in *bufio.Reader) (*Audit, error) {
	l := lineReader{digest: blake3.New()}
	for {
		text, err := readLine(in)
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, &MalformedError{l.lines + 1, err.Error()}
		}
		if err != nil {
			return l.finish(len(text) == 0, errors.Is(err, io.ErrUnexpectedEOF))
		}
		l.lines++
		if err := l.take(text); err != nil {
			var m *MalformedError
			if errors.As(err, &m) {
				return nil, &MalformedError{l.lines, m.Reason}
			}
			return nil, err
		}
	}
}

// readLine returns a line with its end; what is there without one comes with io.EOF.
func readLine(in *bufio.Reader) ([]byte, error) {
	var whole []byte
	for {
		part, err := in.ReadSlice('\n')
		whole = append(whole, part...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return whole, err
		}
		if len(whole) > maxLine {
			return nil, errors.New("is too long")
		}
	}
}

// finish ends the reading: clean tells that no half line was left, cut that the compression has no end.
func (l *lineReader) finish(clean, cut bool) (*Audit, error) {
	switch {
	case l.lines == 0 && !cut:
		return nil, malformed("is empty, or no audit")
	case l.ended && clean && !cut:
		return &l.audit, nil
	}
	l.audit.Header.Complete = false
	l.audit.Header.IncompleteReasons = append(l.audit.Header.IncompleteReasons, "the file ends early")
	return &l.audit, &TruncatedError{l.lines}
}

func (l *lineReader) take(text []byte) error {
	var kind line
	if err := json.Unmarshal(text, &kind); err != nil {
		return malformed(err.Error())
	}
	switch {
	case l.ended:
		return malformed("follows the end")
	case (l.lines == 1) != (kind.Line == "header"):
		return malformed("the header is not the first line")
	case kind.Line == "end":
		return l.end(text)
	}
	l.digest.Write(text)
	return l.add(kind.Line, text)
}

func (l *lineReader) add(kind string, text []byte) error {
	switch kind {
	case "header":
		// The version decides how the rest is read, so it is read first.
		var version struct{ Format int }
		if err := json.Unmarshal(text, &version); err != nil {
			return malformed(err.Error())
		}
		if version.Format != Format {
			return &FormatError{version.Format}
		}
		return unmarshal(text, &l.audit.Header)
	case "process":
		return decodeTo(text, &l.audit.Processes, processJSON.decode)
	case "access":
		return decodeTo(text, &l.audit.Accesses, accessJSON.decode)
	case "event":
		return decodeTo(text, &l.audit.Events, func(e Event) (Event, error) { return e, nil })
	}
	if kind == "output" {
		var o outputLine
		err := unmarshal(text, &o)
		l.audit.Output = o.Report
		return err
	}
	return malformed("unknown kind of line " + kind)
}

func unmarshal(text []byte, value any) error {
	if err := json.Unmarshal(text, value); err != nil {
		return malformed(err.Error())
	}
	return nil
}

func decodeTo[J, T any](text []byte, list *[]T, decode func(J) (T, error)) error {
	var j J
	if err := unmarshal(text, &j); err != nil {
		return err
	}
	value, err := decode(j)
	if err != nil {
		return err
	}
	*list = append(*list, value)
	return nil
}

func (l *lineReader) end(text []byte) error {
	var e end
	if err := unmarshal(text, &e); err != nil {
		return err
	}
	a := &l.audit
	if e.Processes != len(a.Processes) || e.Accesses != len(a.Accesses) || e.Events != len(a.Events) {
		return malformed("the end counts other lines than there are")
	}
	if e.Digest != hex.EncodeToString(l.digest.Sum(nil)) {
		return malformed("the digest is that of another content")
	}
	l.ended = true
	return nil
}
