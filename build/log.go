package build

import (
	"bytes"
	"io"
	"strings"
)

const (
	tailLines = 40
	// longestLine is where a line without an end is cut for the tail and the events; the file has it whole.
	longestLine = 4 << 10
)

// logWriter takes what a build prints: everything goes to the file as it is, whole lines go to the tail and to lines.
// It is used from one goroutine at a time.
type logWriter struct {
	file  io.Writer
	lines func(text string)
	// partial is a line that has not ended, tail a ring of the last lines, next the place of the oldest.
	partial []byte
	tail    []string
	next    int
	written int64
	// err is the first error of the file. Whoever writes to us may have to go on, so it is asked for at the end.
	err error
}

// Write implements io.Writer.
func (l *logWriter) Write(p []byte) (int, error) {
	n, err := l.file.Write(p)
	l.written += int64(n)
	if l.err == nil {
		l.err = err
	}
	whole := bytes.LastIndexByte(p, '\n') + 1
	if whole > 0 || len(l.partial) > longestLine {
		l.take(append(l.partial, p[:whole]...))
		l.partial = l.partial[:0]
	}
	l.partial = append(l.partial, p[whole:]...)
	return n, err
}

// flush treats what is left as a line.
func (l *logWriter) flush() {
	if len(l.partial) > 0 {
		l.take(l.partial)
		l.partial = nil
	}
}

func (l *logWriter) take(text []byte) {
	if l.lines != nil {
		l.lines(string(text))
	}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		line = printable(line[:min(len(line), longestLine)])
		if len(l.tail) < tailLines {
			l.tail = append(l.tail, line)
			continue
		}
		l.tail[l.next] = line
		l.next = (l.next + 1) % tailLines
	}
}

// last returns the last lines, oldest first.
func (l *logWriter) last() []string {
	return append(append([]string(nil), l.tail[l.next:]...), l.tail[:l.next]...)
}
