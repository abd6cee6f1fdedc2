package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"hdjail/artifact"
)

// Names of what lies beside a tree, and beside a build record.
const (
	logName   = "log.zst"
	auditName = "audit.jsonl.zst"
)

// logWindow is how far back the compression of a log looks, in bytes; more costs memory in every build.
const logWindow = 512 << 10

// OpenLog opens the log of a run, decompressed. A run that kept none gives *NotFoundError.
func (s *Store) OpenLog(r artifact.BuildRecord) (io.ReadCloser, error) {
	f, err := s.openBeside(r, "log", logName)
	if err != nil {
		return nil, err
	}
	decoder, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(8<<20))
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("open log %q: %w", f.Name(), err)
	}
	return &logReader{decoder, f}, nil
}

// OpenAudit opens the audit of a run, compressed as it was given. A run that was not recorded gives *NotFoundError.
func (s *Store) OpenAudit(r artifact.BuildRecord) (io.ReadCloser, error) {
	f, err := s.openBeside(r, "audit", auditName)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// openBeside opens what a run left: beside its record, or with the realization if the run was the one that made it. What is
// with the realization of another run is not this one's; the one that made it has nothing beside its record.
func (s *Store) openBeside(r artifact.BuildRecord, what, name string) (*os.File, error) {
	dirs := []string{s.recordDir(r.Derivation, r.Number)}
	if _, err := os.Lstat(dirs[0] + "/" + logName); errors.Is(err, fs.ErrNotExist) && !r.Realization.IsZero() {
		dirs = append(dirs, s.path("realizations", r.Realization.String()))
	}
	for _, dir := range dirs {
		f, err := os.Open(dir + "/" + name)
		if !errors.Is(err, fs.ErrNotExist) {
			return f, err
		}
	}
	return nil, &NotFoundError{what, fmt.Sprintf("%s/%d", r.Derivation, r.Number)}
}

type logReader struct {
	*zstd.Decoder
	file *os.File
}

func (l *logReader) Close() error {
	l.Decoder.Close()
	return l.file.Close()
}

// putLogs compresses the log into dir, puts the audit beside it, and returns the length of the log, known when there is
// none.
func (s *Store) putLogs(dir, log string, audit []byte, known int64) (int64, error) {
	if audit != nil {
		if err := s.create(dir+"/"+auditName, audit); err != nil {
			return known, err
		}
	}
	if log == "" {
		return known, nil
	}
	in, err := os.OpenFile(log, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return known, fmt.Errorf("store log: %w", err)
	}
	defer in.Close()
	target := dir + "/" + logName
	out, err := os.OpenFile(target, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o444)
	if err != nil {
		return known, s.denied(target, err)
	}
	defer out.Close()
	n, err := s.compress(out, in)
	if err != nil {
		return known, s.denied(target, err)
	}
	if err := out.Chmod(0o444); err != nil {
		return known, s.denied(target, err)
	}
	return n, s.denied(target, out.Close())
}

func (s *Store) compress(out io.Writer, in io.Reader) (int64, error) {
	encoder, _ := s.encoders.Get().(*zstd.Encoder)
	if encoder == nil {
		var err error
		encoder, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true),
			zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(logWindow))
		if err != nil {
			return 0, err
		}
	}
	defer s.encoders.Put(encoder)
	encoder.Reset(out)
	n, err := io.Copy(encoder, in)
	if err != nil {
		encoder.Close()
		return n, err
	}
	return n, encoder.Close()
}

// putJSON makes a new file with the value.
func (s *Store) putJSON(path string, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encode %q: %w", path, err)
	}
	return s.create(path, append(data, '\n'))
}
