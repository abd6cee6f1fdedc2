package spec

import (
	"errors"
	"fmt"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/agext/levenshtein"

	"hdjail/artifact"
	"hdjail/artifact/match"
	"hdjail/build/lens"
	"hdjail/policies"
)

// decoder turns nodes into values. The first mistake is kept; what is read after it is worthless.
type decoder struct {
	file   string
	text   []byte
	places []place
	// visits bounds what aliases can multiply.
	visits int
	// values answers for references; nil when the spec is read for the first time. references tells that there are some.
	values     lens.Values
	references bool
	err        error
}

func (d *decoder) fail(n node, message, help string) {
	if d.err == nil {
		d.err = newError(d.file, d.text, n.at, message, help)
	}
}

func (d *decoder) place(key string, index int, n node) {
	d.places = append(d.places, place{key, index, n.at})
}

// want reports whether n is of one of the kinds, and fails otherwise.
func (d *decoder) want(n node, kinds ...kind) bool {
	if d.visits++; d.visits > MaxBytes {
		d.fail(n, "spec is too large once its aliases are replaced", "")
	}
	if !slices.Contains(kinds, n.kind) {
		help := ""
		if kinds[0] == isString && (n.kind == isNumber || n.kind == isBool) {
			help = "quote it"
		}
		d.fail(n, fmt.Sprintf("want %s, got %s", kinds[0], n.kind), help)
	}
	return d.err == nil
}

func (d *decoder) unknown(key node, section string, known []string) {
	what := "key"
	if section != "" {
		what = "key of " + section
	}
	best, distance := "", 3
	for _, name := range known {
		if n := levenshtein.Distance(key.text, name, nil); n < distance {
			best, distance = name, n
		}
	}
	help := "known are " + strings.Join(known, ", ")
	if best != "" {
		help = fmt.Sprintf("did you mean %q?", best)
	}
	d.fail(key, fmt.Sprintf("unknown %s %q", what, key.text), help)
}

// scalar takes a string, or a number or boolean as it is typed.
func (d *decoder) scalar(n node) string {
	if d.want(n, isString, isNumber, isBool) && strings.ContainsRune(n.text, 0) {
		d.fail(n, "text holds a NUL character", "")
	}
	return n.text
}

func (d *decoder) string(n node) string {
	if d.want(n, isString) {
		return d.scalar(n)
	}
	return ""
}

func (d *decoder) nonempty(n node) string {
	s := d.string(n)
	if d.err == nil && s == "" {
		d.fail(n, "want text, got an empty string", "")
	}
	return s
}

func (d *decoder) bool(n node) bool { return d.want(n, isBool) && n.text == "true" }

func (d *decoder) format(n node) int {
	if d.want(n, isNumber) && n.text != strconv.Itoa(Format) {
		d.fail(n, fmt.Sprintf("unknown format %s of the spec", n.text), fmt.Sprintf("this hdjail reads format %d", Format))
	}
	return Format
}

const nameForm = "letters, digits and _ + - . with no dot in front"

// name reads a name or version. A number keeps its text, so that 1.10 is not 1.1.
func (d *decoder) name(n node) string {
	text := d.scalar(n)
	if d.err == nil && !validName(text) {
		d.fail(n, fmt.Sprintf("%q is no valid name", text), "a name has "+nameForm)
	}
	return text
}

func (d *decoder) version(n node) string {
	if n.kind == isString && d.refer(&n, never) {
		return n.text
	}
	return d.name(n)
}

// validName reports whether text is a full match of [A-Za-z0-9_+-][A-Za-z0-9_+.-]* and fits into a file name.
func validName(text string) bool {
	const longest = 100
	if text == "" || len(text) > longest || text[0] == '.' {
		return false
	}
	return strings.IndexFunc(text, func(r rune) bool { return !alphanumeric(r) && !strings.ContainsRune("_+-.", r) }) < 0
}

func alphanumeric(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
}

// packageName reads the name of a distribution package, with dpkg's architecture: "libc6:i386".
func (d *decoder) packageName(n node) string {
	text := d.scalar(n)
	base, arch, colon := strings.Cut(text, ":")
	if d.err == nil && (!validName(base) || colon && !validName(arch)) {
		d.fail(n, fmt.Sprintf("%q is no name of a package", text), "")
	}
	return text
}

func (d *decoder) variable(n node) string {
	text := d.string(n)
	ok := text != "" && (text[0] < '0' || text[0] > '9') &&
		strings.IndexFunc(text, func(r rune) bool { return !alphanumeric(r) && r != '_' }) < 0
	if d.err == nil && !ok {
		d.fail(n, fmt.Sprintf("%q is no name of a variable", text), "letters, digits and _, no digit in front")
	}
	return text
}

func (d *decoder) hex(n node, digits int) string {
	text := strings.ToLower(d.scalar(n))
	if d.err == nil && (len(text) != digits || strings.Trim(text, "0123456789abcdef") != "") {
		d.fail(n, fmt.Sprintf("want %d hexadecimal digits, got %q", digits, n.text), "")
	}
	return text
}

func (d *decoder) derivationID(n node) string {
	text := d.string(n)
	if _, err := artifact.ParseDerivationID(text); d.err == nil && err != nil {
		d.fail(n, err.Error(), "a derivation ID has 32 characters, as `hdjail hash` prints it")
	}
	return text
}

func (d *decoder) url(n node) string {
	text := d.nonempty(n)
	if d.err == nil && (!strings.Contains(text, ":") || strings.HasPrefix(text, "-") || strings.ContainsAny(text, " \n\t")) {
		d.fail(n, fmt.Sprintf("%q is no URL", text), "a local file is `path:`")
	}
	return text
}

// relative reads a path that stays below a directory, and cleans it.
func (d *decoder) relative(n node, what string) string {
	n.text = d.nonempty(n)
	if d.refer(&n, never) {
		return n.text
	}
	text := n.text
	switch {
	case d.err != nil:
	case path.IsAbs(text):
		d.fail(n, fmt.Sprintf("%s %q is absolute", what, text), "")
	case slices.Contains(strings.Split(text, "/"), ".."):
		d.fail(n, fmt.Sprintf("%s %q has a `..`", what, text), "")
	}
	return path.Clean(text)
}

func (d *decoder) target(n node) string {
	if text := d.relative(n, "target"); text != "." {
		return text
	}
	return ""
}

func (d *decoder) promisePath(n node) string {
	text := d.relative(n, "promise")
	if d.err == nil && text == "." {
		d.fail(n, "promise names no path", "")
	}
	return text
}

func (d *decoder) promiseKind(n node) string {
	text := d.nonempty(n)
	var wrong *artifact.MalformedError
	if err := (artifact.Promise{Path: "a", Kind: text}).Check(); d.err == nil && errors.As(err, &wrong) {
		d.fail(n, wrong.Reason, "there are exists, elf, exec, nonempty, sha256=DIGEST and soname=NAME")
	}
	return text
}

// unseen are top-level directories that a jail has of its own, or never shows.
var unseen = []string{"/proc", "/sys", "/dev", "/run", "/build", "/deps", "/.hdjail"}

func (d *decoder) hostPathText(n node) string {
	text := d.nonempty(n)
	switch {
	case d.err != nil:
	case !path.IsAbs(text):
		d.fail(n, fmt.Sprintf("host path %q is not absolute", text), "")
	case slices.Contains(strings.Split(text, "/"), ".."):
		d.fail(n, fmt.Sprintf("host path %q has a `..`", text), "")
	case path.Clean(text) == "/":
		d.fail(n, "the whole host cannot be whitelisted", "use mode log")
	case slices.Contains(unseen, firstComponent(path.Clean(text))):
		d.fail(n, fmt.Sprintf("host path %q lies in %s, which a jail has of its own or never shows", text, firstComponent(path.Clean(text))), "")
	case slices.Contains([]string{"/tmp", "/var/tmp", "/home", "/root"}, path.Clean(text)):
		d.fail(n, fmt.Sprintf("host path %q is too wide", text), "name the directory below it that the build needs")
	}
	return path.Clean(text)
}

// firstComponent is the top-level directory that a clean, absolute path lies in.
func firstComponent(abs string) string {
	first, _, _ := strings.Cut(abs[1:], "/")
	return "/" + first
}

func (d *decoder) unpack(n node) bool {
	text := d.string(n)
	if d.err == nil && text != "auto" && text != "none" {
		d.fail(n, fmt.Sprintf("unknown value %q of unpack", text), "want auto or none")
	}
	return text == "auto"
}

func (d *decoder) mode(n node) policies.Mode {
	mode, err := policies.ParseMode(d.nonempty(n))
	if d.err == nil && err != nil {
		d.fail(n, err.Error(), "")
	}
	return mode
}

func (d *decoder) network(n node) string {
	text := d.string(n)
	if d.err == nil && text != "none" {
		d.fail(n, fmt.Sprintf("unknown network %q", text), "a build has none; what it needs is a source")
	}
	return text
}

func (d *decoder) matcher(n node) match.Matcher {
	text := d.nonempty(n)
	if d.err != nil {
		return nil
	}
	m, err := match.Parse(text)
	if err != nil {
		d.fail(n, err.Error(), "")
	}
	return m
}

func (d *decoder) count(n node) int64 {
	if !d.want(n, isNumber) {
		return 0
	}
	value, err := strconv.ParseInt(n.text, 10, 64)
	if err != nil || value < 1 {
		d.fail(n, fmt.Sprintf("%s is no number from 1 to %d", n.text, int64(math.MaxInt64)), "")
	}
	return value
}

func (d *decoder) positive(n node) float64 {
	if !d.want(n, isNumber) {
		return 0
	}
	value, err := strconv.ParseFloat(n.text, 64)
	if err != nil || !(value > 0) || math.IsInf(value, 0) {
		d.fail(n, fmt.Sprintf("%s is no number greater than 0", n.text), "")
	}
	return value
}

// units are powers of 1024 with an i, of 1000 without, as in the SI.
var units = map[string]float64{"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
	"kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}

// ParseSize reads a number of bytes, at least 1, and says whether the text is one.
func ParseSize(text string) (Size, bool) {
	digits := strings.TrimRight(text, "BKMGTik ")
	unit, known := units[strings.TrimSpace(text[len(digits):])]
	value, err := strconv.ParseFloat(digits, 64)
	bytes := value * unit
	if err != nil || !known || !(bytes >= 1 && bytes < math.MaxInt64) {
		return 0, false
	}
	return Size(bytes), true
}

func (d *decoder) size(n node) Size {
	if !d.want(n, isString, isNumber) {
		return 0
	}
	size, ok := ParseSize(n.text)
	if !ok {
		d.fail(n, fmt.Sprintf("%q is no size", n.text), "write 512, 64KiB or 2GiB")
	}
	return size
}

// duration reads a number of seconds or Go's form, 1h30m.
func (d *decoder) duration(n node) time.Duration {
	if !d.want(n, isString, isNumber) {
		return 0
	}
	value, err := time.ParseDuration(n.text)
	if n.kind == isNumber {
		value, err = time.ParseDuration(n.text + "s")
	}
	if err != nil || value <= 0 {
		d.fail(n, fmt.Sprintf("%q is no duration", n.text), "write 90 (seconds), 10m or 2h")
	}
	return value
}
