package trace

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"hdjail/policies/audit"
)

// maxPairs bounds how many pairs of like commands are tried, so that a hostile record takes no hours.
const maxPairs = 4 << 20

// run is one side of a comparison: its commands that have no partner yet, and its process ids.
type run struct {
	areas    areas
	commands []command
	pids     map[string]bool
}

// command is a process with names below /tmp and /var/tmp as "*". key is all of it; shape is the key without its numbers.
type command struct {
	argv       []string
	cwd        string
	executable string
	key, shape string
	numbers    []string
	paired     bool
}

func newRun(a *audit.Audit, prefixes []string) run {
	r := run{areas: areasOf(a, prefixes), pids: map[string]bool{}}
	for _, p := range a.Processes {
		r.pids[strconv.Itoa(p.PID)] = true
		if p.Cwd == "" {
			continue // a copy of its parent that executed nothing; whether it is on record depends on who was faster
		}
		c := command{cwd: r.areas.hideTemporary(p.Cwd), executable: p.Exe}
		for _, arg := range p.Argv {
			c.argv = append(c.argv, r.areas.hideTemporary(arg))
		}
		c.key = strings.Join(append(slices.Clone(c.argv), c.cwd), "\x00") // arguments have no NUL
		c.shape = eachNumber(c.key, func(n string) string { c.numbers = append(c.numbers, n); return "0" })
		r.commands = append(r.commands, c)
	}
	return r
}

// cancel pairs commands that are equal, then those that are once process ids count as equal. A number is a process id if its
// own run has one like it; 2 may be one there and the level of an optimisation here, so no number is replaced before it
// is compared.
func cancel(a, b *run) {
	partners := map[string][]*command{}
	for i := range b.commands {
		c := &b.commands[i]
		partners[c.key] = append(partners[c.key], c)
	}
	for i := range a.commands {
		c := &a.commands[i]
		if list := partners[c.key]; len(list) > 0 {
			c.paired, list[0].paired, partners[c.key] = true, true, list[1:]
		}
	}
	clear(partners)
	for i := range b.commands {
		if c := &b.commands[i]; !c.paired {
			partners[c.shape] = append(partners[c.shape], c)
		}
	}
	tried := 0
	for i := range a.commands {
		c := &a.commands[i]
		if c.paired {
			continue
		}
		for _, p := range partners[c.shape] {
			if tried++; tried > maxPairs {
				return
			}
			if !p.paired && sameNumbers(c.numbers, p.numbers, a.pids, b.pids) {
				c.paired, p.paired = true, true
				break
			}
		}
	}
}

// sameNumbers reports whether two lists differ in process ids only.
func sameNumbers(a, b []string, pidsA, pidsB map[string]bool) bool {
	for i := range a { // like shapes have as many
		if a[i] != b[i] && !(pidsA[a[i]] && pidsB[b[i]]) {
			return false
		}
	}
	return true
}

// rest lists the commands without a partner, equal ones once.
func (r *run) rest() (list []Process) {
	index := map[string]int{}
	for i := range r.commands {
		c := &r.commands[i]
		if c.paired {
			continue
		}
		p := Process{Cwd: r.hidePids(c.cwd), Executable: c.executable, Count: 1}
		for _, arg := range c.argv {
			p.Argv = append(p.Argv, r.hidePids(arg))
		}
		key := strings.Join(append(slices.Clone(p.Argv), p.Cwd), "\x00")
		if at, known := index[key]; known {
			list[at].Count++
			continue
		}
		index[key] = len(list)
		list = append(list, p)
	}
	slices.SortFunc(list, func(x, y Process) int { return cmp.Or(slices.Compare(x.Argv, y.Argv), cmp.Compare(x.Cwd, y.Cwd)) })
	return list
}

// hidePids writes process ids as "<pid>", but for those of one digit, which seldom are.
func (r *run) hidePids(text string) string {
	return eachNumber(text, func(n string) string {
		if len(n) > 1 && r.pids[n] {
			return "<pid>"
		}
		return n
	})
}

// eachNumber replaces every run of decimal digits.
func eachNumber(text string, replace func(string) string) string {
	var b strings.Builder
	for i := 0; i < len(text); {
		end := i
		for end < len(text) && '0' <= text[end] && text[end] <= '9' {
			end++
		}
		if end == i {
			b.WriteByte(text[i])
			i++
			continue
		}
		b.WriteString(replace(text[i:end]))
		i = end
	}
	return b.String()
}

// separators end a path within an argument: they are seldom part of one.
const separators = " \t\n\"'`=:,;|&()<>@[]{}"

// hideTemporary writes what follows /tmp/ and /var/tmp/ as "*", where an absolute path begins there: at the beginning of a
// word, or after the letters of an option as in -I/tmp/x. A path in a store stays.
func (a areas) hideTemporary(text string) string { return eachWord(text, separators, a.hideWord) }

// eachWord replaces every longest part without one of the characters in ends.
func eachWord(text, ends string, replace func(string) string) string {
	var b strings.Builder
	for len(text) > 0 {
		end := strings.IndexAny(text, ends)
		if end < 0 {
			end = len(text)
		}
		b.WriteString(replace(text[:end]))
		if end < len(text) {
			b.WriteByte(text[end])
			end++
		}
		text = text[end:]
	}
	return b.String()
}

func (a areas) hideWord(word string) string {
	at := strings.IndexByte(word, '/')
	if at < 0 || at > 0 && word[0] != '-' || a.stored(word[at:]) {
		return word
	}
	for _, dir := range []string{"/tmp/", "/var/tmp/"} {
		if rest, below := strings.CutPrefix(word[at:], dir); below && rest != "" {
			return word[:at] + dir + "*"
		}
	}
	return word
}
