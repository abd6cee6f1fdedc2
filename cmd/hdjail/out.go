package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"hdjail/policies/audit/report"
)

// out is the only place that prints. Data goes to standard output, bare and complete, for programs and pipes; everything
// said to a person goes to standard error. Text that comes from elsewhere is shown with escapes, and colour only on a
// terminal that wants it. Nothing ever asks.
type out struct {
	data, people io.Writer
	color        bool
	// err is the first error of printing data; a message that cannot be printed has nobody to be told.
	err error

	mu sync.Mutex
	// hide takes a live view off the terminal before something else is printed there; nil for none.
	hide func()
}

func newOut(data, people io.Writer, color bool) *out {
	return &out{data: data, people: people, color: color && isTerminal(people)}
}

// setColor obeys --color.
func (o *out) setColor(when string) error {
	switch when {
	case "auto":
	case "always", "never":
		o.color = when == "always"
	default:
		return usagef("--color is "+quote(when), "there are auto, always and never")
	}
	return nil
}

// line prints one line of data. What goes wrong is in err.
func (o *out) line(format string, args ...any) {
	_, err := fmt.Fprintf(o.data, format+"\n", args...)
	o.err = cmp.Or(o.err, err)
}

// lines prints lines of data that have their escapes.
func (o *out) lines(list iter.Seq[string]) {
	buffered := bufio.NewWriterSize(o.data, 64<<10)
	for line := range list {
		buffered.WriteString(line)
		if buffered.WriteByte('\n') != nil {
			break // nobody reads on
		}
	}
	o.err = cmp.Or(o.err, buffered.Flush())
}

// json prints a value as data, indented.
func (o *out) json(value any) error {
	return o.encode(value, "  ")
}

// show prints a value as JSON, or lets text print it for people.
func (o *out) show(asJSON bool, value any, text func()) error {
	if asJSON {
		return o.json(value)
	}
	text()
	return nil
}

// jsonLine prints a value as one line of data.
func (o *out) jsonLine(value any) error {
	return o.encode(value, "")
}

func (o *out) encode(value any, indent string) error {
	encoder := json.NewEncoder(o.data)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", indent)
	return encoder.Encode(value)
}

// say prints a message for a person.
func (o *out) say(format string, args ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.hide != nil {
		o.hide()
	}
	fmt.Fprintf(o.people, format+"\n", args...)
}

// warn prints a message that a person should not miss.
func (o *out) warn(format string, args ...any) {
	o.say("%s: %s", o.paint(yellow, "warning"), escape(fmt.Sprintf(format, args...)))
}

// problem prints an error: what, where, more of it, what to do.
func (o *out) problem(p problem) {
	o.say("%s: %s", o.paint(red, "error["+p.Code+"]"), escape(p.Text))
	for _, line := range p.Details {
		o.say("%s", escape(line))
	}
	if p.Place != "" {
		o.say("%s", strings.TrimRight("  --> "+escape(p.Place)+"   "+escape(strings.TrimSpace(p.Excerpt)), " "))
	}
	for _, line := range p.Help {
		o.say("  %s %s", o.paint(cyan, "help:"), escape(line))
	}
	o.say("  more: hdjail explain %s", p.Code)
}

// pinning tells of the first look at host packages, which takes a moment.
func (o *out) pinning(done, total int, name string) {
	switch {
	case !isTerminal(o.people):
	case done < total:
		fmt.Fprintf(o.people, "\r\x1b[Ktaking a snapshot of host package %d of %d: %s", done, total, escape(name))
	default:
		fmt.Fprint(o.people, "\r\x1b[K")
	}
}

// Colours, as the numbers of ECMA-48.
const (
	bold   = "1"
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
	cyan   = "36"
)

func (o *out) paint(color, text string) string {
	if !o.color {
		return text
	}
	return "\x1b[" + color + "m" + text + "\x1b[0m"
}

// quote is text in quotation marks, with escapes.
func quote(text string) string { return strconv.Quote(text) }

// writeFile makes a file appear whole, by a rename, or not at all; "-" is standard output. What is no regular file, like a
// pipe or a device, is written to as it is, and not replaced.
func (a *app) writeFile(name string, write func(io.Writer) error) error {
	if name == "-" {
		return write(a.out.data)
	}
	path := a.absolute(name)
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		return errors.Join(write(f), f.Close())
	}
	temporary := fmt.Sprintf("%s.%d.tmp", path, os.Getpid())
	// Without a name nothing is left if we are killed. Where the file system knows no such files, it has one from the beginning.
	f, err := os.OpenFile(filepath.Dir(path), os.O_WRONLY|unix.O_TMPFILE, 0o666)
	unnamed := err == nil
	if !unnamed {
		if f, err = os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666); err != nil {
			return err
		}
	}
	if err = write(f); err == nil && unnamed {
		err = nameFile(f, path, temporary)
	}
	if err = errors.Join(err, f.Close()); unnamed {
		return err
	}
	if err == nil {
		err = os.Rename(temporary, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temporary))
	}
	return nil
}

// nameFile gives a file that has no name the name path. A file that is there is replaced, for which a second name is needed.
func nameFile(f *os.File, path, temporary string) error {
	link := func(name string) error {
		return unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", f.Fd()), unix.AT_FDCWD, name, unix.AT_SYMLINK_FOLLOW)
	}
	err := link(path)
	if errors.Is(err, unix.EEXIST) {
		if err = link(temporary); err == nil {
			if err = os.Rename(temporary, path); err != nil {
				return errors.Join(err, os.Remove(temporary))
			}
			return nil
		}
	}
	if err != nil {
		return &fs.PathError{Op: "create", Path: path, Err: err}
	}
	return nil
}

// escape shows what a terminal would obey, or what would break a line, as an escape.
func escape(text string) string { return report.Escape(text) }

// escaping is a writer that passes lines on with escapes. A character that is cut by two writes is shown as its bytes.
type escaping struct{ to io.Writer }

// Write implements io.Writer.
func (e *escaping) Write(p []byte) (int, error) {
	var b strings.Builder
	for line := range strings.Lines(string(p)) {
		text, ended := strings.CutSuffix(line, "\n")
		b.WriteString(escape(strings.TrimSuffix(text, "\r")))
		if ended {
			b.WriteByte('\n')
		}
	}
	_, err := io.WriteString(e.to, b.String())
	return len(p), err
}
