package audit

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"hdjail/policies"
)

// documentHead is the document but for its accesses, which are many. Header's fields stand beside the others.
type documentHead struct {
	Header
	Lost      int64                      `json:"lost"`
	Counts    map[policies.Verdict]int64 `json:"counts"`
	Events    []Event                    `json:"events"`
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
	out := bufio.NewWriterSize(w, 64<<10)
	if err := a.writeDocument(out); err != nil {
		return fmt.Errorf("write audit: %w", err)
	}
	return out.Flush()
}

func (a *Audit) writeDocument(out *bufio.Writer) error {
	head := documentHead{Header: a.Header, Lost: a.Header.Counters.Lost, Counts: a.Header.Counters.Verdicts, Events: a.Events,
		Processes: make([]processJSON, len(a.Processes))}
	if head.Events == nil {
		head.Events = []Event{}
	}
	if head.Observers == nil {
		head.Observers = []Observer{}
	}
	head.Format = Format
	for i, p := range a.Processes {
		head.Processes[i] = encodeProcess(p)
	}
	text, err := json.Marshal(head)
	if err != nil {
		return err
	}
	out.Write(text[:len(text)-1]) // an error stays in the writer
	out.WriteString(`,"accesses":[`)
	chains := a.processes()
	for i, access := range a.Accesses {
		text, err := json.Marshal(a.documentAccess(access, chains))
		if err != nil {
			return err
		}
		if i > 0 {
			out.WriteByte(',')
		}
		out.WriteByte('\n')
		out.Write(text)
	}
	_, err = out.WriteString("\n]}\n")
	return err
}

// maxChain bounds the chain of parents in the document. The list of processes has it whole.
const maxChain = 64

// processes are the document's forms of the processes, by ID.
func (a *Audit) processes() map[int]*documentProcess {
	byID := make(map[int]*documentProcess, len(a.Processes))
	for _, p := range a.Processes { // parents come first
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

func (a *Audit) documentAccess(access Access, processes map[int]*documentProcess) documentAccess {
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
	a := &Audit{Header: d.Header, Events: d.Events}
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
