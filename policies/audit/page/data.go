package page

import (
	"cmp"
	"strings"

	"hdjail/policies"
	"hdjail/policies/audit"
	"hdjail/policies/audit/report"
)

// data is what the script shows: a column a field, and texts that repeat as numbers into lists. All texts have escapes.
type data struct {
	// Seconds is how long the run took.
	Seconds   float64            `json:"seconds"`
	Verdicts  []policies.Verdict `json:"verdicts"`
	Reported  int                `json:"reported"` // how many of Verdicts, from the first, people look at
	Ops       []string           `json:"ops"`
	Outcomes  []string           `json:"outcomes"`
	Packages  []string           `json:"packages"`
	Texts     []string           `json:"texts"`
	Processes []process          `json:"processes"`
	Rows      rows               `json:"rows"`
}

// process is a node of the tree. Parent is an index into the list, -1 for none.
type process struct {
	PID    int     `json:"pid"`
	Parent int     `json:"parent"`
	Orphan bool    `json:"orphan,omitempty"`
	Exe    string  `json:"exe"`
	Argv   string  `json:"argv"`
	Cwd    string  `json:"cwd,omitempty"`
	Start  float64 `json:"start"`
}

// rows are the accesses. Package, process and texts are indices, -1 for none; First is in seconds.
type rows struct {
	Verdict []int     `json:"verdict"`
	Op      []int     `json:"op"`
	Path    []string  `json:"path"`
	Outcome []int     `json:"outcome"`
	Count   []int64   `json:"count"`
	Package []int     `json:"package"`
	Process []int     `json:"process"`
	First   []float64 `json:"first"`
	Why     []int     `json:"why"`
	Allow   []int     `json:"allow"`
	Leads   []int     `json:"leads"`
	Calls   []int     `json:"calls"`
	// Inferred is 1 where the outcome is not the kernel's own answer.
	Inferred []int `json:"inferred"`
}

// interner numbers texts.
type interner struct {
	list   []string
	number map[string]int
}

func newInterner() *interner { return &interner{[]string{}, map[string]int{}} }

// add returns the number of a text, -1 for the empty one.
func (i *interner) add(text string) int {
	if text == "" {
		return -1
	}
	n, known := i.number[text]
	if !known {
		n = len(i.list)
		i.number[text] = n
		i.list = append(i.list, report.Escape(text))
	}
	return n
}

func newData(a *audit.Audit) *data {
	d := &data{Seconds: a.Header.Duration.Seconds(), Verdicts: policies.Verdicts(), Reported: len(report.Reported()), Processes: []process{}}
	number := make(map[int]int, len(a.Processes))
	for i, p := range a.Processes {
		number[p.ID] = i
		parent, known := number[p.Parent]
		if !known {
			parent = -1
		}
		argv := report.Escape(strings.Join(p.Argv, " "))
		if p.Truncated {
			argv += " …"
		}
		d.Processes = append(d.Processes, process{p.PID, parent, p.Orphan, report.Escape(p.Exe), argv, report.Escape(p.Cwd), seconds(p.Start.Seconds())})
	}
	d.fill(a, number)
	return d
}

func (d *data) fill(a *audit.Audit, number map[int]int) {
	verdicts := map[policies.Verdict]int{}
	for i, v := range d.Verdicts {
		verdicts[v] = i
	}
	ops, outcomes, packages, texts := newInterner(), newInterner(), newInterner(), newInterner()
	why, r := report.Reasons(a), newRows(len(a.Accesses))
	for i, access := range a.Accesses {
		reason, allow := why(access)
		process, known := number[access.Process]
		if !known {
			process = -1
		}
		r.Verdict[i], r.Op[i], r.Path[i] = verdicts[access.Verdict], ops.add(string(access.Op)), report.Escape(access.Path)
		r.Outcome[i], r.Count[i], r.Package[i], r.Process[i] = outcomes.add(cmp.Or(audit.ErrnoName(access.Errno), "ok")), access.Count, -1, process
		r.First[i], r.Why[i], r.Allow[i] = seconds(access.First.Seconds()), texts.add(reason), texts.add(allow)
		r.Calls[i] = texts.add(strings.Join(append(append([]string{}, access.Calls...), access.Flags...), " "))
		if len(access.Owners) > 0 {
			r.Package[i] = packages.add(report.PackageName(access.Owners[0]))
		}
		if r.Leads[i] = -1; access.Inferred {
			r.Inferred[i] = 1
		}
		if access.Resolved != "" {
			r.Leads[i] = texts.add(strings.Join(append(append([]string{}, access.Via...), access.Resolved), ", then "))
		}
	}
	d.Rows, d.Ops, d.Outcomes, d.Packages, d.Texts = r, ops.list, outcomes.list, packages.list, texts.list
}

func newRows(n int) rows {
	return rows{make([]int, n), make([]int, n), make([]string, n), make([]int, n), make([]int64, n), make([]int, n), make([]int, n),
		make([]float64, n), make([]int, n), make([]int, n), make([]int, n), make([]int, n), make([]int, n)}
}

// seconds keeps microseconds.
func seconds(s float64) float64 { return float64(int64(s*1e6)) / 1e6 }
