package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"slices"
)

// document is what the referee needs of an audit.
type document struct {
	Mode              string
	Complete          *bool
	Lost              int64
	IncompleteReasons []string `json:"incomplete_reasons"`
	Observers         []struct{ Name string }
	Counters          struct {
		Restarted, Aborted int64
		CanariesSent       int64 `json:"canaries_sent"`
		CanariesSeen       int64 `json:"canaries_seen"`
	}
	Accesses []*access
}

// access is one line of the audit.
type access struct {
	Path    string
	PathB64 string `json:"path_b64"`
	Op      string
	Verdict string
	Reason  string
	Count   int
	Errno   *string
	Flags   []string
	Calls   []string
	Process *struct {
		PID  int
		Exe  string
		Argv []string
	}
}

// readDocument reads an audit. It insists on the fields that it needs.
func readDocument(r io.Reader) (*document, error) {
	d := &document{}
	if err := json.NewDecoder(r).Decode(d); err != nil {
		return nil, fmt.Errorf("read audit: %w", err)
	}
	if d.Complete == nil || d.Mode == "" || d.Accesses == nil {
		return nil, fmt.Errorf("read audit: no mode, complete or accesses")
	}
	for i, a := range d.Accesses {
		if a.PathB64 != "" {
			raw, err := base64.StdEncoding.DecodeString(a.PathB64)
			if err != nil {
				return nil, fmt.Errorf("read audit: access %d: %w", i, err)
			}
			a.Path = string(raw)
		}
		if a.Op == "" || a.Verdict == "" || a.Count < 1 {
			return nil, fmt.Errorf("read audit: access %d has no operation, verdict or count", i)
		}
	}
	return d, nil
}

func (a *access) errno() string {
	if a.Errno == nil {
		return ""
	}
	return *a.Errno
}

// stracesOwn tells that strace itself did it first, or what became strace.
func (a *access) stracesOwn() bool {
	return a.Process != nil && slices.Contains([]string{"strace", "hdjail"}, filepath.Base(a.Process.Exe)) || a.Op == "exec" && filepath.Base(a.Path) == "strace"
}

// kernels tells that no system call of the build named the path.
func (a *access) kernels() bool { return slices.Contains(a.Flags, "implicit") }
