package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// call is one system call as strace printed it.
type call struct {
	pid  int
	name string
	args []string
	// result is what follows the equals sign up to a blank: a number, a number with a note, or "?".
	result string
	errno  string // like "ENOENT"; empty for success
	// joined tells that the call's end was seen.
	joined bool
}

// child is the pid that a call returned, 0 for none.
func (c *call) child() int {
	n, err := strconv.Atoi(c.result)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// event is the begin or the end of a call, or the end of a process, in the order of the trace.
type event struct {
	call *call
	end  bool
	exit int // a pid
}

// lexer turns the lines of a trace into events.
type lexer struct {
	events []event
	// open are the calls whose end is still to come, by pid, with the text so far.
	open map[int]opened
	// odd are lines that it does not understand.
	odd []string
}

type opened struct {
	call *call
	text string
}

// readTrace reads the output of strace -f -y -o FILE.
func readTrace(r io.Reader) (*lexer, error) {
	l := &lexer{open: map[int]opened{}}
	in := bufio.NewReaderSize(r, 1<<20)
	for {
		line, err := in.ReadString('\n')
		if line = strings.TrimSuffix(line, "\n"); line != "" {
			l.line(line)
		}
		if errors.Is(err, io.EOF) {
			return l, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read trace: %w", err)
		}
	}
}

func (l *lexer) line(line string) {
	digits, text, _ := strings.Cut(line, " ")
	pid, err := strconv.Atoi(digits)
	if err != nil || pid < 1 {
		if !strings.HasPrefix(line, "[ Process") && !strings.HasPrefix(line, "strace: ") {
			l.odd = append(l.odd, line)
		}
		return
	}
	text = strings.TrimLeft(text, " ")
	switch {
	case strings.HasPrefix(text, "---"), strings.HasPrefix(text, "[ Process"):
	case strings.HasPrefix(text, "+++ superseded by execve in pid "):
		l.superseded(pid, text)
	case strings.HasPrefix(text, "+++"):
		l.events = append(l.events, event{exit: pid})
		delete(l.open, pid)
	case strings.HasPrefix(text, "<... "):
		l.resume(pid, line, text)
	default:
		l.begin(pid, line, text)
	}
}

// superseded gives the thread's exec to the leader, whose pid it has from now on.
func (l *lexer) superseded(leader int, text string) {
	thread, err := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(text, "+++ superseded by execve in pid "), " +++"))
	if err != nil {
		return
	}
	if o, ok := l.open[thread]; ok {
		l.open[leader] = o
		delete(l.open, thread)
	}
}

func (l *lexer) begin(pid int, line, text string) {
	name, _, ok := strings.Cut(text, "(")
	if !ok || strings.ContainsAny(name, " <>") {
		l.odd = append(l.odd, line)
		return
	}
	c := &call{pid: pid, name: name}
	for _, mark := range []string{"<unfinished ...>", "<pid changed to "} {
		if at := strings.LastIndex(text, mark); at >= 0 && (mark[1] == 'p' || at+len(mark) == len(text)) {
			l.open[pid] = opened{c, strings.TrimRight(text[:at], " ")}
			l.events = append(l.events, event{call: c})
			return
		}
	}
	if !c.parse(text) {
		l.odd = append(l.odd, line)
		return
	}
	l.events = append(l.events, event{call: c}, event{call: c, end: true})
}

func (l *lexer) resume(pid int, line, text string) {
	o, ok := l.open[pid]
	_, rest, found := strings.Cut(text, " resumed>")
	if !ok || !found {
		l.odd = append(l.odd, line)
		return
	}
	delete(l.open, pid)
	if !o.call.parse(o.text + strings.TrimPrefix(rest, " ")) {
		l.odd = append(l.odd, line)
		return
	}
	l.events = append(l.events, event{call: o.call, end: true})
}

// parse reads a whole call: name(arguments) = result errno (words).
func (c *call) parse(text string) bool {
	args, rest, ok := arguments(text[len(c.name)+1:])
	if !ok {
		return false
	}
	equals, result, ok := strings.Cut(rest, "= ")
	if !ok || strings.TrimSpace(equals) != "" {
		return false
	}
	c.args = args
	c.result, rest, _ = strings.Cut(result, " ")
	if c.result == "-1" || c.result == "?" {
		c.errno, _, _ = strings.Cut(rest, " ")
	}
	c.joined = true
	return true
}

// arguments splits text at its commas up to the bracket that closes the call, and returns what follows it.
func arguments(text string) (args []string, rest string, ok bool) {
	depth, from := 0, 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			i = skipQuoted(text, i)
		case '<':
			i = skipNote(text, i)
		case '(', '[', '{':
			depth++
		case ']', '}':
			depth--
		case ',':
			if depth == 0 {
				args = append(args, strings.TrimSpace(text[from:i]))
				from = i + 1
			}
		case ')':
			if depth--; depth < 0 {
				if last := strings.TrimSpace(text[from:i]); last != "" {
					args = append(args, last)
				}
				return args, text[i+1:], true
			}
		}
	}
	return nil, "", false
}

// skipQuoted returns the index of the quote that ends what begins at from.
func skipQuoted(text string, from int) int {
	for i := from + 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return len(text) - 1
}

// skipNote returns the index of the end of a descriptor's note, which follows a digit or AT_FDCWD. Inside, strace escapes
// both angles.
func skipNote(text string, from int) int {
	if from == 0 || !(text[from-1] >= '0' && text[from-1] <= '9' || strings.HasSuffix(text[:from], "AT_FDCWD")) {
		return from // less-than in flags: 1<<CAP_CHOWN
	}
	if strings.HasPrefix(text[from:], "<<") {
		return from + 1
	}
	if length := strings.IndexByte(text[from:], '>'); length > 0 {
		return from + length
	}
	return from
}

// unescape undoes strace's escapes: those of C with octal numbers of one to three digits.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			out = append(out, s[i])
			continue
		}
		i++
		if at := strings.IndexByte(`nrtvf`, s[i]); at >= 0 {
			out = append(out, "\n\r\t\v\f"[at])
			continue
		}
		if s[i] < '0' || s[i] > '7' {
			out = append(out, s[i])
			continue
		}
		value, n := 0, 0
		for ; n < 3 && i+n < len(s) && s[i+n] >= '0' && s[i+n] <= '7'; n++ {
			value = value*8 + int(s[i+n]-'0')
		}
		out = append(out, byte(value))
		i += n - 1
	}
	return string(out)
}

// quoted returns the bytes of an argument that is a string, and whether it is one and is whole.
func quoted(arg string) (string, bool) {
	if len(arg) < 2 || arg[0] != '"' || !strings.HasSuffix(arg, `"`) {
		return "", false
	}
	return unescape(arg[1 : len(arg)-1]), true
}

// note returns the path that strace -y noted behind a descriptor: 3</usr>, AT_FDCWD</usr (deleted)>, 3</x>(deleted).
func note(arg string) (path string, ok bool) {
	_, rest, ok := strings.Cut(arg, "<")
	end := strings.LastIndexByte(rest, '>')
	if !ok || end < 0 {
		return "", false
	}
	path = unescape(rest[:end])
	if strings.HasPrefix(arg, "AT_FDCWD") {
		path = strings.TrimSuffix(path, " (deleted)")
	}
	return path, strings.HasPrefix(path, "/")
}
