package artifact

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"
)

// Kinds of promises.
const (
	PromiseExists   = "exists"
	PromiseELF      = "elf"
	PromiseExec     = "exec"
	PromiseNonempty = "nonempty"
	PromiseSHA256   = "sha256="
	PromiseSONAME   = "soname="
)

// Promise is what every realization of a derivation has: something at Path, which is relative and clean. Kind says what is
// there: "exists", "elf", "exec" or "nonempty", or "sha256=" and 64 hex digits, or "soname=" and a name. Name is what
// others call the promise; it may be empty.
type Promise struct {
	Path string `json:"path"`
	Kind string `json:"kind"`
	Name string `json:"name,omitempty"`
}

// Exists is the promise that something is at path.
func Exists(path string) Promise { return Promise{Path: path, Kind: PromiseExists} }

// Check reports, as *MalformedError, a promise that means nothing.
func (p Promise) Check() error {
	malformed := func(reason string) error { return &MalformedError{What: "promise", Name: p.Path, Reason: reason} }
	digest, isDigest := strings.CutPrefix(p.Kind, PromiseSHA256)
	soname, isSoname := strings.CutPrefix(p.Kind, PromiseSONAME)
	switch {
	case p.Path == "" || p.Path == "." || path.IsAbs(p.Path) || path.Clean(p.Path) != p.Path || slices.Contains(strings.Split(p.Path, "/"), ".."):
		return malformed("its path is not relative and clean")
	case p.Name != "" && !isName(p.Name):
		return malformed(fmt.Sprintf("its name %q has to match [A-Za-z0-9_+-][A-Za-z0-9_+.-]*", p.Name))
	case isDigest && (len(digest) != 64 || strings.Trim(digest, "0123456789abcdef") != ""):
		return malformed("sha256= wants 64 lower-case hexadecimal digits")
	case isSoname && (soname == "" || strings.Contains(soname, "/")):
		return malformed("soname= wants the name of a library")
	case isDigest, isSoname, slices.Contains([]string{PromiseExists, PromiseELF, PromiseExec, PromiseNonempty}, p.Kind):
		return nil
	}
	return malformed(fmt.Sprintf("there is no kind %q", p.Kind))
}

// plain reports whether the path alone says it all.
func (p Promise) plain() bool { return p.Kind == PromiseExists && p.Name == "" }

// encoded is the promise as one string of the derivation's encoding: its path and, if it is not plain, its kind and its name,
// each after a NUL, which is in none of them.
func (p Promise) encoded() string {
	if p.plain() {
		return p.Path
	}
	return p.Path + "\x00" + p.Kind + "\x00" + p.Name
}

// decodePromise reads what encoded writes; anything else gives a promise that is encoded differently, or that Check refuses.
func decodePromise(text string) Promise {
	parts := strings.SplitN(text, "\x00", 3)
	if len(parts) < 3 {
		return Exists(text)
	}
	return Promise{parts[0], parts[1], parts[2]}
}

// MarshalJSON writes a plain promise as its path, any other as an object.
func (p Promise) MarshalJSON() ([]byte, error) {
	if p.plain() {
		return json.Marshal(p.Path)
	}
	type object Promise
	return json.Marshal(object(p))
}

// UnmarshalJSON reads what MarshalJSON writes.
func (p *Promise) UnmarshalJSON(data []byte) error {
	if bytes.HasPrefix(bytes.TrimSpace(data), []byte(`"`)) {
		*p = Promise{Kind: PromiseExists}
		return json.Unmarshal(data, &p.Path)
	}
	type object Promise
	return json.Unmarshal(data, (*object)(p))
}

// ComparePromises orders promises by path, kind and name.
func ComparePromises(a, b Promise) int {
	return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
}
