package observe

import (
	"iter"
	"slices"

	"hdjail/policies"
	"hdjail/policies/audit"
)

// Owners names the host packages that own a path; nil for none.
type Owners func(path string) []audit.Owner

// Header completes a header with what the record knows of itself: observers, counters and whether it is complete. It is for
// after Close.
func (l *Log) Header(h audit.Header) (audit.Header, error) {
	h.Counters = audit.Counters{Verdicts: map[policies.Verdict]int64{}, Aborted: l.aborted.Load()}
	for k, err := range l.sorted() {
		if err != nil {
			return h, err
		}
		h.Counters.Unique++
		h.Counters.Events += k.e.count
		h.Counters.Verdicts[k.e.verdict]++
	}
	for _, c := range l.canaries {
		h.Counters.CanariesSent += int64(c.sent)
		h.Counters.CanariesSeen += c.seen.Load()
	}
	h.Observers, h.Recorded = l.observers, "all"
	if len(l.observers) == 0 {
		h.Observers, h.Recorded = []audit.Observer{}, "none"
		l.Incomplete("nothing watched")
	}
	h.IncompleteReasons = slices.Clone(l.reasons)
	h.Complete = len(l.reasons) == 0
	return h, nil
}

// Accesses returns the record, sorted by operation, path and outcome, with the owners of what exists. It is for after Close.
func (l *Log) Accesses(owners Owners) iter.Seq2[audit.Access, error] {
	return func(yield func(audit.Access, error) bool) {
		for k, err := range l.sorted() {
			a := audit.Access{}
			if err == nil {
				a = k.e.access(k.key)
				where := a.Path
				if a.Resolved != "" {
					where = a.Resolved
				}
				if owners != nil && a.Verdict != policies.Absent && isPath([]byte(where)) {
					a.Owners = owners(where)
				}
			}
			if !yield(a, err) {
				return
			}
		}
	}
}

// Processes returns the programs that ran, by ID: those that were executed in the jail, whether or not an entry names them, and
// what else the entries name, with those that started it. It is for after Close.
func (l *Log) Processes() ([]audit.Process, error) {
	if l.processes == nil {
		return nil, nil
	}
	all, ran := l.processes.close()
	named := make([]bool, len(all)+1)
	for k, err := range l.sorted() {
		if err != nil {
			return nil, err
		}
		for id := int(k.e.program); id != 0 && !named[id]; id = all[id-1].Parent {
			named[id] = true
		}
	}
	var list []audit.Process
	for _, p := range all {
		if named[p.ID] || ran[p.ID-1] {
			list = append(list, p)
		}
	}
	return list, nil
}

// Events returns what happened to the run as a whole.
func (l *Log) Events() []audit.Event { return l.events }

// Release gives back what the record holds, on disk and of the jail's processes.
func (l *Log) Release() error {
	if l.processes != nil {
		l.processes.close()
	}
	var err error
	for _, run := range l.spill.runs {
		if closed := run.Close(); err == nil {
			err = closed
		}
	}
	l.spill.runs = nil
	return err
}
