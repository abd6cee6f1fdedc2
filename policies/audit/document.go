package audit

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"

	"hdjail/policies"
)

// documentHead is the document but for its accesses, which are many. Header's fields stand beside the others.
type documentHead struct {
	Header
	Lost      int64                      `json:"lost"`
	Counts    map[policies.Verdict]int64 `json:"counts"`
	Events    []Event                    `json:"events"`
	Output    json.RawMessage            `json:"output,omitempty"`
	Processes []processJSON              `json:"processes"`
}

// documentAccess is an access with what people ask first: its package and its process.
type documentAccess struct {
	accessJSON
	Package        *string          `json:"package"`
	PackageVersion *string          `json:"package_version"`
	Process        *documentProcess `json:"process"`
}

// documentProcess is a process with the chain of those that started it, nearest first.
type documentProcess struct {
	PID     int              `json:"pid"`
	Exe     string           `json:"exe"`
	Argv    []string         `json:"argv"`
	Parents []documentParent `json:"parents"`
}

type documentParent struct {
	PID int    `json:"pid"`
	Exe string `json:"exe"`
}

// WriteDocument writes the audit as one JSON document.
func (a *Audit) WriteDocument(w io.Writer) error {
	return WriteDocument(w, a.Header, a.Processes, a.All, Rest{a.Events, a.Output})
}

// All goes through the accesses; it brings no error.
func (a *Audit) All(yield func(Access, error) bool) {
	for _, access := range a.Accesses {
		if !yield(access, nil) {
			return
		}
	}
}

// WriteDocument writes an audit, given as to Write, as one JSON document.
func WriteDocument(w io.Writer, head Header, processes []Process, accesses iter.Seq2[Access, error], rest Rest) error {
	out := bufio.NewWriterSize(w, 64<<10)
	d := documentHead{Header: head, Lost: head.Counters.Lost, Counts: head.Counters.Verdicts, Events: rest.Events, Output: rest.Output,
		Processes: make([]processJSON, len(processes))}
	if d.Events == nil {
		d.Events = []Event{}
	}
	if d.Observers == nil {
		d.Observers = []Observer{}
	}
	d.Format = Format
	for i, p := range processes {
		d.Processes[i] = encodeProcess(p)
	}
	if err := d.write(out, accesses, chains(processes)); err != nil {
		return fmt.Errorf("write audit: %w", err)
	}
	return out.Flush()
}

func (d documentHead) write(out *bufio.Writer, accesses iter.Seq2[Access, error], byID map[int]*documentProcess) error {
	text, err := json.Marshal(d)
	if err != nil {
		return err
	}
	out.Write(text[:len(text)-1]) // an error stays in the writer
	out.WriteString(`,"accesses":[`)
	separator := "\n"
	for access, err := range accesses {
		if err != nil {
			return err
		}
		text, err := json.Marshal(newDocumentAccess(access, byID))
		if err != nil {
			return err
		}
		out.WriteString(separator)
		if _, err := out.Write(text); err != nil {
			return err
		}
		separator = ",\n"
	}
	_, err = out.WriteString("\n]}\n")
	return err
}

// Encoder returns a function that gives accesses of this audit the form that they have in the document, for encoding/json.
func (a *Audit) Encoder() func(Access) any {
	byID := chains(a.Processes)
	return func(access Access) any { return newDocumentAccess(access, byID) }
}

// maxChain bounds the chain of parents in the document. The list of processes has it whole.
const maxChain = 64

// chains are the document's forms of the processes, by ID.
func chains(processes []Process) map[int]*documentProcess {
	byID := make(map[int]*documentProcess, len(processes))
	for _, p := range processes { // parents come first
		j := encodeProcess(p)
		d := &documentProcess{PID: p.PID, Exe: j.Exe, Argv: j.Argv, Parents: []documentParent{}}
		if parent := byID[p.Parent]; parent != nil {
			rest := parent.Parents[:min(len(parent.Parents), maxChain-1)]
			d.Parents = append([]documentParent{{parent.PID, parent.Exe}}, rest...)
		}
		byID[p.ID] = d
	}
	return byID
}

func newDocumentAccess(access Access, processes map[int]*documentProcess) documentAccess {
	d := documentAccess{accessJSON: encodeAccess(access), Process: processes[access.Process]}
	if len(access.Owners) > 0 {
		d.Package, d.PackageVersion = &access.Owners[0].Package, &access.Owners[0].Version
	}
	return d
}

func readDocument(in *bufio.Reader) (*Audit, error) {
	var d struct {
		documentHead
		Accesses []documentAccess `json:"accesses"`
	}
	decoder := json.NewDecoder(in)
	if err := decoder.Decode(&d); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, malformed("is empty, or ends early")
		}
		return nil, malformed(err.Error())
	}
	if d.Format != Format {
		return nil, &FormatError{d.Format}
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, malformed("more follows the document")
	}
	a := &Audit{Header: d.Header, Events: d.Events, Output: d.Output}
	for _, j := range d.Processes {
		p, err := j.decode()
		if err != nil {
			return nil, err
		}
		a.Processes = append(a.Processes, p)
	}
	for _, j := range d.Accesses {
		access, err := j.accessJSON.decode()
		if err != nil {
			return nil, err
		}
		a.Accesses = append(a.Accesses, access)
	}
	return a, nil
}
