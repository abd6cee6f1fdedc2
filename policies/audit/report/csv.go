package report

import (
	"bufio"
	"encoding/base64"
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"

	"hdjail/policies/audit"
)

// csvHeader are the columns.
var csvHeader = []string{"verdict", "op", "path", "outcome", "count", "package", "package_version", "pid", "exe", "argv", "first_seconds",
	"resolved", "reason", "inferred", "path_b64"}

// WriteCSV writes the accesses as RFC 4180 has it: a header row, commas, and CRLF at the end of a row. Control bytes and
// what is not UTF-8 are escapes, as everywhere in reports; a path that has some is whole in path_b64. No field begins with
// what a spreadsheet takes for a formula (= + - @ and a tab): such a one has an apostrophe before it.
func WriteCSV(w io.Writer, a *audit.Audit) error {
	x := newIndex(a)
	buffered := bufio.NewWriterSize(w, 64<<10)
	rows := csv.NewWriter(buffered)
	rows.UseCRLF = true
	rows.Write(csvHeader) // an error stays in the writer
	for _, access := range a.Accesses {
		rows.Write(x.row(access))
	}
	rows.Flush()
	if err := rows.Error(); err != nil {
		return fmt.Errorf("write CSV: %w", err)
	}
	return buffered.Flush()
}

func (x *index) row(a audit.Access) []string {
	row := []string{string(a.Verdict), string(a.Op), a.Path, outcome(a), strconv.FormatInt(a.Count, 10), "", "", "", "", "",
		strconv.FormatFloat(a.First.Seconds(), 'f', 6, 64), a.Resolved, a.Reason, strconv.FormatBool(a.Inferred), ""}
	if len(a.Owners) > 0 {
		row[5], row[6] = a.Owners[0].Package, a.Owners[0].Version
	}
	if p := x.processes[a.Process]; p != nil {
		row[7], row[8], row[9] = strconv.Itoa(p.PID), p.Exe, commandLine(p.Argv)
	}
	for i, field := range row {
		if row[i] = Escape(field); strings.IndexAny(field, "=+-@\t") == 0 {
			row[i] = "'" + row[i]
		}
	}
	if Escape(a.Path) != a.Path {
		row[14] = base64.StdEncoding.EncodeToString([]byte(a.Path))
	}
	return row
}
