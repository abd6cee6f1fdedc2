package audittest

import (
	"syscall"
	"time"

	"hdjail/policies"
	"hdjail/policies/audit"
)

// Hostile are texts that mean something to whatever shows an audit: terminals, browsers, spreadsheets, parsers of lines.
func Hostile() []string {
	return []string{
		"</script><script>document.title='owned'</script>", "<img src=x onerror=\"document.title='owned'\">", "<!--<script>",
		"\x1b[2J\x1b]0;owned\x07", "line\nbreak", "carriage\rreturn", "tab\there", "nul\x00byte", "\xff\xfe bytes", "right\u202eto left",
		"\u2028 and \u2029", "\"double\" 'single' `back` \\", "=cmd|' /C calc'!A0", "+1", "-1", "@SUM(1)", "{{.}}", "%2e%2e/%00", "a b;c,d",
		"javascript:document.title='owned'", "]]>", "&lt;b&gt;", "${1}",
	}
}

// HostileAudit has each of Hostile as path, resolved path, argument, package, reason and event.
func HostileAudit() *audit.Audit {
	a := &audit.Audit{Header: header()}
	a.Header.Name, a.Header.Complete, a.Header.IncompleteReasons = Hostile()[0], false, Hostile()
	a.Header.Degradations = Hostile()
	verdicts := policies.Verdicts()
	for i, text := range Hostile() {
		a.Processes = append(a.Processes, audit.Process{ID: i + 1, PID: i + 2, Parent: i, Exe: "/bin/" + text, Argv: []string{text, "-x"}, Cwd: "/" + text})
		a.Accesses = append(a.Accesses, audit.Access{Op: policies.OpRead, Path: "/h/" + text, Resolved: "/r/" + text, Via: []string{"/v/" + text},
			Errno: int(syscall.ENOENT), Verdict: verdicts[i%len(verdicts)], Reason: text, Flags: []string{text}, Calls: []string{text},
			Count: 1, First: time.Duration(i) * time.Second, Process: i + 1, Owners: []audit.Owner{{Package: text, Version: text}}})
		a.Events = append(a.Events, audit.Event{Name: "limit:memory", Path: "/e/" + text, Detail: text, Time: time.Duration(i) * time.Second})
	}
	Count(a)
	return a
}
