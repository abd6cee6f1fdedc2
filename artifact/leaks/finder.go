package leaks

import (
	"bytes"
	"slices"
	"strings"
)

// needles are the directories whose paths are looked for in all files, text or not.
type needles struct {
	stores    []string
	buildDirs []string
	// second are the bytes that follow their slash, which most slashes of a file are not followed by.
	second [256]bool
}

func newNeedles(o Options) *needles {
	n := &needles{}
	// A store's path is looked for with a slash, a build directory's as it is.
	for _, store := range o.Stores {
		n.stores = append(n.stores, strings.TrimSuffix(store, "/")+"/")
	}
	n.buildDirs = o.BuildDirs
	for _, dir := range slices.Concat(n.stores, n.buildDirs) {
		if len(dir) > 1 {
			n.second[dir[1]] = true
		}
	}
	return n
}

// sighting is a path in a file.
type sighting struct {
	path   string
	offset int64
	line   int
	count  int
}

// finder searches the bytes of a file, which come in pieces. It is for one file after the other.
type finder struct {
	*needles
	text    bool // host paths count, and lines
	limit   int  // of different paths
	index   map[string]int
	found   []sighting
	dropped int   // occurrences beyond the limit
	line    int   // where the search is
	offset  int64 // of the first byte of the piece
}

const (
	// lookBack is how much of what is before a path is looked at: "file://", or an option like "-isystem".
	lookBack = 16
	// maxEntry is how long the name of an artifact is at most (NAME_MAX).
	maxEntry = 255
)

// reset begins a file.
func (f *finder) reset() {
	f.text, f.found, f.dropped, f.line, f.offset = false, nil, 0, 1, 0
	clear(f.index)
}

// search looks at data, of which what is before from was searched already. It returns how far it came: to the end or, unless
// this is the last piece, to a slash near the end, where a path may begin.
func (f *finder) search(data []byte, from int, last bool) int {
	end := len(data)
	if !last {
		end = max(from, len(data)-maxPath-1)
	}
	counted := from
	i := from
	for i < end {
		slash := bytes.IndexByte(data[i:], '/')
		if slash < 0 {
			i = len(data)
			break
		}
		if i += slash; i >= end {
			break
		}
		if i+1 == len(data) || !f.second[data[i+1]] && !(f.text && isName(data[i+1])) {
			i++
			continue
		}
		name, length := f.take(data, i)
		if name != nil {
			f.count(data[counted:i])
			counted = i
			f.see(name, int64(i))
		}
		i += length
	}
	f.count(data[counted:i])
	return i
}

func (f *finder) count(data []byte) {
	if f.text {
		f.line += bytes.Count(data, []byte{'\n'})
	}
}

// take returns the path at data[i:], more than a slash, or nil if none is to be told, and how far to go on, at least 1.
func (f *finder) take(data []byte, i int) (name []byte, length int) {
	rest := data[i:min(len(data), i+maxPath+1)]
	if f.second[rest[1]] {
		if n := f.artifact(rest); n > 0 {
			if f.text {
				n += tokenEnd(rest[n:])
				return trim(rest[:n]), n
			}
			return rest[:n], n
		}
	}
	if !starts(data, i, !f.text) {
		return nil, 1
	}
	if !f.text {
		for _, dir := range f.buildDirs {
			if bytes.HasPrefix(rest, []byte(dir)) && (len(rest) == len(dir) || rest[len(dir)] == '/' || !isName(rest[len(dir)])) {
				return rest[:len(dir)], tokenEnd(rest)
			}
		}
		return nil, 1
	}
	n := tokenEnd(rest)
	if n > maxPath {
		return nil, n // what follows has no beginning of a path, as it follows a name
	}
	return trim(rest[:n]), n
}

// artifact returns how long the path of an artifact is that data begins with, 0 if it does not. What is before it does not
// count, since nothing else looks like it.
func (f *finder) artifact(data []byte) int {
	for _, store := range f.stores {
		if bytes.HasPrefix(data, []byte(store)) {
			if n := artifactEnd(data[len(store):]); n > 0 {
				return len(store) + n
			}
		}
	}
	return 0
}

// see counts a path.
func (f *finder) see(name []byte, at int64) {
	if i, ok := f.index[string(name)]; ok {
		f.found[i].count++
		return
	}
	if len(f.found) >= f.limit {
		f.dropped++
		return
	}
	if f.index == nil {
		f.index = map[string]int{}
	}
	s := sighting{path: string(name), offset: f.offset + at, count: 1}
	if f.text {
		s.line = f.line
	}
	f.index[s.path] = len(f.found)
	f.found = append(f.found, s)
}

// Bytes of names: nameBytes can be in a path, others end one.
var nameBytes = func() (set [256]bool) {
	for c := range set {
		set[c] = isWord(byte(c)) || strings.IndexByte("._-+~@%", byte(c)) >= 0 || c >= 0x80
	}
	set['%'] = false // of formats: /usr/lib/%s
	return set
}()

func isName(c byte) bool { return nameBytes[c] }

// tokenEnd returns how long the path is that data begins with.
func tokenEnd(data []byte) int {
	for i, c := range data {
		if c != '/' && !nameBytes[c] {
			return i
		}
	}
	return len(data)
}

// trim removes what follows a path in a sentence.
func trim(token []byte) []byte {
	for len(token) > 1 && bytes.HasSuffix(token, []byte(".")) && !bytes.HasSuffix(token, []byte("/..")) {
		token = token[:len(token)-1]
	}
	return bytes.TrimRight(token, "/")
}

// starts reports whether an absolute path can start at data[i], going by what is before it. In a binary file the length of
// a string may be there, which is one byte that looks like anything.
func starts(data []byte, i int, binary bool) bool {
	if i == 0 {
		return true
	}
	before := data[max(0, i-lookBack):i]
	last := before[len(before)-1]
	switch {
	case last == '/':
		return bytes.HasSuffix(before, []byte("file://"))
	case last < 0x80 && !nameBytes[last] && strings.IndexByte(`%$})]*?\`, last) < 0:
		return true
	case binary:
		return len(before) < 2 || before[len(before)-2] < ' ' || before[len(before)-2] >= 0x7f
	}
	return afterOption(before)
}

// afterOption reports whether text ends with an option that a path follows without a space, such as -L or -isystem.
func afterOption(text []byte) bool {
	i := len(text)
	for i > 0 && (text[i-1]|0x20 >= 'a' && text[i-1]|0x20 <= 'z') {
		i--
	}
	if i == len(text) || i == 0 || text[i-1] != '-' {
		return false
	}
	return i == 1 || text[i-2] != '/' && !nameBytes[text[i-2]] && text[i-2] != '}' && text[i-2] != ')'
}

// shebang returns the interpreter of a script that begins with data, and where its name ends; empty if it is none.
func shebang(data []byte) (interpreter string, end int) {
	line := data[:min(len(data), maxShebang)]
	if !bytes.HasPrefix(line, []byte("#!")) {
		return "", 0
	}
	start := 2
	for start < len(line) && (line[start] == ' ' || line[start] == '\t') {
		start++
	}
	if end = bytes.IndexAny(line[start:], " \t\r\n\x00"); end < 0 {
		end = len(line) - start
	}
	end += start
	if end == start || line[start] != '/' {
		return "", 0
	}
	return string(line[start:end]), end
}

// maxShebang is how much of a first line the kernel reads (BINPRM_BUF_SIZE).
const maxShebang = 256

// isText reports whether a file that begins with data is text: without NUL, and almost without control characters.
func isText(data []byte) bool {
	data = data[:min(len(data), 8<<10)]
	if len(data) == 0 || bytes.IndexByte(data, 0) >= 0 {
		return false
	}
	data = data[:min(len(data), 2<<10)] // which tell enough
	control := 0
	for _, c := range data {
		control += int(controls[c])
	}
	return control*32 <= len(data)
}

// controls marks control characters that texts do not have: all but \a to \r and ESC.
var controls = func() (set [256]byte) {
	for c := range set {
		if c < '\a' || c > '\r' && c < ' ' && c != 0x1b || c == 0x7f {
			set[c] = 1
		}
	}
	return set
}()
