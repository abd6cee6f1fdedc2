package audit

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"
	"unicode/utf8"

	"hdjail/policies"
)

// text is a string of bytes in JSON: as it is where it is UTF-8, else readable with U+FFFD and whole in base64.
type text struct {
	Readable string
	Base64   string
}

func newText(s string) text {
	if utf8.ValidString(s) {
		return text{Readable: s}
	}
	return text{strings.ToValidUTF8(s, "\uFFFD"), base64.StdEncoding.EncodeToString([]byte(s))}
}

// bytes returns what newText was given.
func (t text) bytes() (string, error) {
	if t.Base64 == "" {
		return t.Readable, nil
	}
	raw, err := base64.StdEncoding.DecodeString(t.Base64)
	return string(raw), err
}

// accessJSON is an access in the file, and what it shares with the document.
type accessJSON struct {
	Path      string             `json:"path"`
	PathB64   string             `json:"path_b64,omitempty"`
	Op        policies.Operation `json:"op"`
	Verdict   policies.Verdict   `json:"verdict"`
	Count     int64              `json:"count"`
	Errno     *string            `json:"errno"` // null when ok
	Resolved  string             `json:"resolved,omitempty"`
	ResolvedB string             `json:"resolved_b64,omitempty"`
	Via       []string           `json:"via,omitempty"`
	By        string             `json:"by"` // "kernel" or "inferred"
	Reason    string             `json:"reason,omitempty"`
	Flags     []string           `json:"flags,omitempty"`
	Calls     []string           `json:"calls,omitempty"`
	First     time.Duration      `json:"first_ns"`
	ProcessID int                `json:"process_id,omitempty"`
	Host      *HostFile          `json:"host,omitempty"`
	Owners    []Owner            `json:"owners,omitempty"`
}

func encodeAccess(a Access) accessJSON {
	path, resolved := newText(a.Path), newText(a.Resolved)
	j := accessJSON{Path: path.Readable, PathB64: path.Base64, Op: a.Op, Verdict: a.Verdict, Count: a.Count,
		Resolved: resolved.Readable, ResolvedB: resolved.Base64, By: "kernel", Reason: a.Reason, Flags: a.Flags, Calls: a.Calls,
		First: a.First, ProcessID: a.Process, Host: a.Host, Owners: a.Owners}
	for _, hop := range a.Via {
		j.Via = append(j.Via, newText(hop).Readable)
	}
	if a.Inferred {
		j.By = "inferred"
	}
	if name := ErrnoName(a.Errno); name != "" {
		j.Errno = &name
	}
	return j
}

func (j accessJSON) decode() (a Access, err error) {
	a = Access{Op: j.Op, Via: j.Via, Inferred: j.By == "inferred", Verdict: j.Verdict, Reason: j.Reason, Flags: j.Flags,
		Calls: j.Calls, Count: j.Count, First: j.First, Process: j.ProcessID, Host: j.Host, Owners: j.Owners}
	if a.Path, err = (text{j.Path, j.PathB64}).bytes(); err != nil {
		return a, malformed("path_b64: " + err.Error())
	}
	if a.Resolved, err = (text{j.Resolved, j.ResolvedB}).bytes(); err != nil {
		return a, malformed("resolved_b64: " + err.Error())
	}
	if j.Errno != nil {
		number, ok := errnoNumber(*j.Errno)
		if !ok {
			return a, malformed("no such errno: " + *j.Errno)
		}
		a.Errno = number
	}
	switch {
	case !a.Op.Known():
		return a, malformed("no such operation: " + string(a.Op))
	case !a.Verdict.Known():
		return a, malformed("no such verdict: " + string(a.Verdict))
	case a.Count < 1:
		return a, malformed("an access without a count")
	}
	return a, nil
}

// processJSON is a process in the file and in the document: paths and arguments need not be UTF-8 either.
type processJSON struct {
	Process
	ExeB64  string   `json:"exe_b64,omitempty"`
	CwdB64  string   `json:"cwd_b64,omitempty"`
	ArgvB64 []string `json:"argv_b64,omitempty"`
}

func encodeProcess(p Process) processJSON {
	exe, cwd := newText(p.Exe), newText(p.Cwd)
	j := processJSON{Process: p, ExeB64: exe.Base64, CwdB64: cwd.Base64}
	j.Exe, j.Cwd, j.Argv = exe.Readable, cwd.Readable, make([]string, len(p.Argv))
	odd := false
	for i, arg := range p.Argv {
		odd = odd || !utf8.ValidString(arg)
		j.Argv[i] = newText(arg).Readable
	}
	for i := 0; odd && i < len(p.Argv); i++ {
		j.ArgvB64 = append(j.ArgvB64, base64.StdEncoding.EncodeToString([]byte(p.Argv[i])))
	}
	return j
}

func (j processJSON) decode() (p Process, err error) {
	p = j.Process
	if p.Exe, err = (text{j.Exe, j.ExeB64}).bytes(); err != nil {
		return p, malformed("exe_b64: " + err.Error())
	}
	if p.Cwd, err = (text{j.Cwd, j.CwdB64}).bytes(); err != nil {
		return p, malformed("cwd_b64: " + err.Error())
	}
	if len(j.ArgvB64) > 0 {
		p.Argv = nil
	}
	for _, arg := range j.ArgvB64 {
		raw, err := base64.StdEncoding.DecodeString(arg)
		if err != nil {
			return p, malformed("argv_b64: " + err.Error())
		}
		p.Argv = append(p.Argv, string(raw))
	}
	if p.ID < 1 || p.Parent < 0 || p.Parent >= p.ID {
		return p, malformed("a process that does not follow its parent")
	}
	return p, nil
}

// end is the last line of the file.
type end struct {
	Processes int    `json:"processes"`
	Accesses  int    `json:"accesses"`
	Events    int    `json:"events"`
	Digest    string `json:"blake3"` // of everything before this line
}

// line is one line of the file: its kind, and the fields of that kind beside it.
type line struct {
	Line string `json:"line"`
}

func marshalLine(kind string, fields any) ([]byte, error) {
	head, err := json.Marshal(line{kind})
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(fields)
	if err != nil {
		return nil, err
	}
	joined := append(head[:len(head)-1], ',')
	return append(append(joined, body[1:]...), '\n'), nil
}
