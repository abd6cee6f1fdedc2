package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"hdjail/artifact"
	"hdjail/artifact/closure"
	"hdjail/artifact/collect"
	"hdjail/artifact/lease"
	"hdjail/artifact/match"
	"hdjail/artifact/pack"
	"hdjail/artifact/store"
	"hdjail/artifact/tree"
	"hdjail/artifact/verify"
	"hdjail/build"
	"hdjail/build/lens"
	"hdjail/build/plan"
	"hdjail/build/sources"
	"hdjail/build/sources/debsrc"
	"hdjail/build/sources/unpack"
	"hdjail/build/spec"
	"hdjail/hostpkgs"
	hosttree "hdjail/hostpkgs/tree"
	"hdjail/jail"
	"hdjail/mounts"
	"hdjail/policies"
	"hdjail/policies/audit"
	"hdjail/profile"
	"hdjail/profile/links"
	"hdjail/profile/public"
)

// Exit statuses; a command that `hdjail run` ran passes its own on.
const (
	exitDone        = 0
	exitOther       = 1
	exitUsage       = 2
	exitBuild       = 3
	exitIllegal     = 4
	exitHost        = 5
	exitSpec        = 6
	exitDiffer      = 7
	exitDigest      = 8
	exitFetch       = 9
	exitIncomplete  = 10
	exitLocked      = 11
	exitAgain       = 75
	exitInterrupted = 130
)

// exitStatus is an error that has been dealt with: the program ends with this status and prints nothing more.
type exitStatus int

func (e exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// usageError is a command line that means nothing. Help may be empty.
type usageError struct{ Text, Help string }

func (e *usageError) Error() string { return e.Text }

func usagef(text, help string) *usageError { return &usageError{text, help} }

// problem is an error as a person sees it. Exit is that of the code.
type problem struct {
	Code string
	Exit int
	// Text is one line; Details are more of it.
	Text    string
	Details []string
	// Place is file:line:column and the line that is there, both may be empty.
	Place, Excerpt string
	Help           []string
}

// exit prints err and returns the exit status that it stands for.
func (a *app) exit(err error) int {
	var status exitStatus
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &status):
		return int(status)
	}
	list := problems(err)
	for _, p := range list {
		a.out.problem(p)
	}
	p := list[0]
	var run *runError
	if errors.As(err, &run) && p.Exit != exitInterrupted {
		return run.status
	}
	return p.Exit
}

// diagnose is the one place that knows what each error means to a person.
func diagnose(err error) problem {
	p := problem{Code: "HJ0001"}
	var located *spec.Error
	if errors.Is(err, context.Canceled) {
		return problem{Code: "HJ0003", Exit: exitInterrupted, Text: "interrupted"} // where is not worth telling
	}
	if errors.As(err, &located) {
		return diagnoseSpec(located)
	}
	for _, d := range slices.Concat(diagnoses, lockDiagnoses) {
		if found, ok := d(err); ok {
			p = found
			break
		}
	}
	if failure := (*build.Failure)(nil); errors.As(err, &failure) {
		p.Help = append(spaceHelp(err, failure.LogTail), p.Help...)
	}
	if p.Text == "" {
		lines := strings.Split(err.Error(), "\n")
		p.Text, p.Details = lines[0], append(lines[1:], p.Details...)
	}
	if p.Exit == 0 {
		p.Exit = codes[p.Code].exit
	}
	return p
}

// diagnoses are tried in order: what failed, then what caused it.
var diagnoses = []func(error) (problem, bool){
	on(func(e *usageError) problem { return problem{Code: "HJ0002", Help: helps(e.Help)} }),
	diagnoseDaemon,
	on(diagnoseFailure),
	on(diagnoseIllegalRun),
	on(func(e *incompleteError) problem {
		return problem{Code: "HJ0038", Help: helps("hdjail audit --last shows what there is")}
	}),
	on(func(*build.Unrealized) problem { return problem{Code: "HJ0036"} }),
	diagnoseMatch,
	on(func(e *build.UnsatisfiedError) problem {
		return problem{Code: "HJ0085", Details: e.Details(), Help: helps("ask for fewer, or for others: --match '" + e.Name + "=MATCHER'")}
	}),

	on(func(e *jail.Unsupported) problem {
		return problem{Code: "HJ0040", Help: helps(e.Fix, "hdjail doctor tries everything that jails need")}
	}),
	on(func(*jail.CommandError) problem { return problem{Code: "HJ0042"} }),
	diagnoseSpace,
	on(func(e *store.AccessError) problem {
		return problem{Code: "HJ0050", Help: helps("name a store of your own with --store DIR or HDJAIL_STORE")}
	}),
	on(func(*jail.SetupError) problem {
		return problem{Code: "HJ0041", Help: helps("hdjail doctor tries everything that jails need")}
	}),
	on(func(*mounts.ConflictError) problem { return problem{Code: "HJ0043"} }),
	on(func(*mounts.TargetError) problem { return problem{Code: "HJ0043"} }),
	on(func(*hosttree.MountpointError) problem { return problem{Code: "HJ0043"} }),

	on(func(*store.RootError) problem {
		return problem{Code: "HJ0080", Help: helps("hdjail gc removes nothing until that is mended: build again what it names, make it readable, or hdjail unpin it",
			"hdjail list --roots shows all others, and what is broken")}
	}),
	on(func(e *store.NotFoundError) problem {
		return problem{Code: "HJ0052", Help: helps(notFoundHelp[e.What])}
	}),
	on(func(*store.AmbiguousError) problem { return problem{Code: "HJ0053", Help: helps("write more of it")} }),
	on(func(e *tree.AncestorError) problem {
		return problem{Code: "HJ0054", Help: helps("take away that permission, or keep the store elsewhere: --store DIR")}
	}),
	on(func(*store.FormatError) problem { return problem{Code: "HJ0055", Help: helps("use the newer hdjail")} }),
	on(func(*lease.LockedError) problem {
		return problem{Code: "HJ0056", Help: helps("wait longer: --lock-timeout 10m, or leave it out to wait as long as it takes")}
	}),
	on(func(e *verify.DamagedError) problem {
		p := problem{Code: "HJ0082", Help: helps("hdjail verify --repair moves it away and makes it anew")}
		if e.Problems[0].Needs != "" {
			p.Help = helps("what it needs is said above; hdjail explain HJ0082 tells more")
		}
		return p
	}),
	on(func(*store.TakenError) problem {
		return problem{Code: "HJ0081", Help: helps("hdjail unpin it, or choose another --name")}
	}),
	on(func(*hostpkgs.LostSnapshotError) problem {
		return problem{Code: "HJ0058", Help: helps("resolve the spec again: hdjail build SPEC")}
	}),

	on(func(e *links.ConflictError) problem {
		p := problem{Code: "HJ0060"}
		for i, c := range e.Conflicts {
			if i > 0 {
				p.Details = append(p.Details, fmt.Sprintf("  also %s: %s and %s", c.Target, c.First, c.Second))
			}
		}
		p.Help = helps(e.Conflicts[0].Help())
		return p
	}),
	on(func(e *public.LiveError) problem {
		return problem{Code: "HJ0064", Help: helps("link what the profile needs anew first: hdjail profile link "+e.Profile+" SPEC", "or use the realization in jails only: hdjail build, run and shell need no public path")}
	}),
	on(func(e *closure.InconsistentError) problem {
		return problem{Code: "HJ0065", Help: helps("build them in one plan: hdjail build SPEC SPEC", "hdjail show ID lists the realizations of "+e.Name)}
	}),
	on(func(*profile.NotFoundError) problem {
		return problem{Code: "HJ0061", Help: helps("hdjail profile list")}
	}),
	on(func(*profile.NameError) problem { return problem{Code: "HJ0062"} }),
	on(func(*links.RuleError) problem { return problem{Code: "HJ0063"} }),
	on(func(*links.GlobError) problem { return problem{Code: "HJ0063"} }),
	on(func(*links.UnsupportedError) problem { return problem{Code: "HJ0063"} }),

	on(func(*sources.DigestError) problem {
		return problem{Code: "HJ0021", Help: helps("if the file is right, correct the digest in the spec; if the spec is right, the place is damaged or hostile")}
	}),
	on(func(*debsrc.LineError) problem { return problem{Code: "HJ0024"} }),
	on(func(e *sources.PackageError) problem {
		return problem{Code: "HJ0024", Help: helps(list("the archives have ", e.Have))}
	}),
	on(func(e *sources.ToolError) problem { return problem{Code: "HJ0023", Help: helps(e.Fix)} }),
	on(func(*sources.FetchError) problem {
		return problem{Code: "HJ0020", Help: helps("add another place to urls, or --mirror DIR|URL", "hdjail source add FILE takes a file that you have")}
	}),
	on(func(e *sources.MissingError) problem {
		help := "give its urls in the spec, or hdjail source add FILE"
		if e.Offline {
			help = "hdjail fetch SPEC on a machine with a network, or hdjail source add FILE"
		}
		return problem{Code: "HJ0022", Help: helps(help)}
	}),
	on(func(*sources.BadDigestError) problem { return problem{Code: "HJ0025"} }),
	on(func(e *unpack.Refusal) problem { return problem{Code: "HJ0026", Help: helps(refusalHelp[e.Kind])} }),
	on(func(e *hostpkgs.NotInstalledError) problem {
		return problem{Code: "HJ0011", Text: fmt.Sprintf("host package %q is not installed", e.Name), Help: helps(list("installed are ", e.Near))}
	}),
	on(func(e *policies.UnknownPolicyError) problem {
		return problem{Code: "HJ0012", Help: helps(list("there are ", e.Known))}
	}),
	on(func(*build.SeveralError) problem {
		return problem{Code: "HJ0037", Help: helps("choose one with match: or --match, or write many: true at the dependency")}
	}),
	on(func(e *plan.NameError) problem {
		return problem{Code: "HJ0002", Help: helps("hdjail build --dry-run shows what the plan has")}
	}),
	on(func(*match.ParseError) problem { return problem{Code: "HJ0013"} }),
	on(func(e *lens.Error) problem { return problem{Code: "HJ0014", Help: helps(e.Help)} }),
	on(func(*collect.RefusedError) problem { return problem{Code: "HJ0033"} }),
	on(func(*tree.OrderError) problem { return problem{Code: "HJ0057"} }),
	on(func(*audit.FormatError) problem {
		return problem{Code: "HJ0071", Help: helps("use the hdjail that wrote it, or a newer one")}
	}),
	on(func(*audit.TruncatedError) problem { return problem{Code: "HJ0072"} }),
	on(func(*audit.MalformedError) problem {
		return problem{Code: "HJ0070", Help: helps("an audit is what hdjail run --audit FILE and hdjail audit --json write")}
	}),
	on(func(*pack.RefusedError) problem {
		return problem{Code: "HJ0090", Help: helps("get the archive again from who packed it; nothing of this one was stored")}
	}),
	on(func(*pack.DigestError) problem {
		return problem{Code: "HJ0091", Help: helps("nothing was stored: the archive, or the store that it is from, is damaged or hostile")}
	}),
	on(func(e *pack.PrefixError) problem {
		return problem{Code: "HJ0092", Help: helps("unpack into a store that is used with this prefix: --prefix " + e.Found + ", or HDJAIL_PREFIX")}
	}),
	on(func(*pack.MissingError) problem {
		return problem{Code: "HJ0093", Help: helps("unpack the archive first that has it, or pack again without --have")}
	}),
	on(func(*pack.InconsistentError) problem { return problem{Code: "HJ0094"} }),
	on(func(*pack.FormatError) problem { return problem{Code: "HJ0095", Help: helps("use the newer hdjail")} }),
	on(func(*artifact.BadIDError) problem { return problem{Code: "HJ0053"} }),
	on(func(*artifact.MalformedError) problem { return problem{Code: "HJ0057"} }),
}

// on makes a diagnosis of one type of error, wherever it is in the chain.
func on[E error](look func(E) problem) func(error) (problem, bool) {
	return func(err error) (problem, bool) {
		var e E
		if errors.As(err, &e) {
			return look(e), true
		}
		return problem{}, false
	}
}

var failureCodes = map[string]string{"exit": "HJ0030", "illegal-access": "HJ0031", "promise": "HJ0032", "output": "HJ0033",
	"timeout": "HJ0034", "limits": "HJ0035", "incomplete": "HJ0038"}

func diagnoseFailure(e *build.Failure) problem {
	p := problem{Code: failureCodes[e.Kind], Text: e.Error()}
	if p.Code == "" {
		p.Code = "HJ0030"
	}
	if e.Kind == "illegal-access" {
		p = diagnoseIllegal(p, e)
	} else {
		p = diagnoseScript(p, e)
	}
	p.Help = append(p.Help, rememberedHelp(e)...)
	return p
}

// rememberedHelp says that a failure was not of this run.
func rememberedHelp(e *build.Failure) []string {
	if e.Remembered.IsZero() {
		return nil
	}
	return helps("this is the failure of " + moment(e.Remembered) + "; leave out --failure-ttl to run the build again")
}

// diagnoseScript shows what the build printed last, and where there is more.
func diagnoseScript(p problem, e *build.Failure) problem {
	for _, line := range e.LogTail {
		p.Details = append(p.Details, "  | "+line)
	}
	if e.Kept != "" {
		p.Details = append(p.Details, "kept: "+e.Kept)
	} else {
		p.Help = helps("--keep-failed keeps what the build left")
	}
	p.Help = append(p.Help, "log: hdjail log --failed    shell: hdjail shell --failed")
	return p
}

// diagnoseIllegal lists what a build wanted, who owns it, and where to allow it.
func diagnoseIllegal(p problem, e *build.Failure) problem {
	lines, packages := illegalDetails(e.Outside, e.Processes)
	p.Details = lines
	if e.Spec != nil {
		at := e.Spec.ErrorAt("host.packages", 0, e, "")
		p.Place, p.Excerpt = fmt.Sprintf("%s:%d:%d", at.File, at.Line, at.Column), at.Source
	}
	report := "log: hdjail log --failed    report: hdjail audit --failed --html a.html"
	if e.Cached {
		report = "report: hdjail audit " + e.ID.String() + " --html a.html"
	}
	p.Help = helps(addPackages(packages, "host.packages, or depend on artifacts that have the files"),
		"if the build is right without them, use --mode hide: same identity, attempts are only recorded", report)
	return p
}

func diagnoseIllegalRun(e *illegalRun) problem {
	lines, packages := illegalDetails(e.record.Outside, e.record.Processes)
	return problem{Code: "HJ0031", Details: lines, Help: helps(addPackages(packages, "--host"),
		"if the command is right without them, use --mode hide: attempts are only recorded")}
}

// addPackages is a help line that says which packages to add to what; empty for none.
func addPackages(packages []string, what string) string {
	switch n := len(packages); {
	case n == 0:
		return ""
	case n == 1:
		return "add " + packages[0] + " to " + what
	case n > maxIllegal:
		return "add " + strings.Join(packages[:maxIllegal], ", ") + " and others to " + what
	default:
		return "add " + strings.Join(packages[:n-1], ", ") + " and " + packages[n-1] + " to " + what
	}
}

// diagnoseSpec keeps the place, and the meaning of a cause that has one of its own.
func diagnoseSpec(e *spec.Error) problem {
	p, message := problem{Code: "HJ0010"}, e.Message
	if e.Err != nil {
		cause := diagnose(e.Err)
		switch cause.Code {
		case "HJ0001":
		case "HJ0051":
			return cause // no fault of the spec
		case "HJ0011":
			message = cause.Text
			fallthrough
		default:
			p.Code, p.Details, p.Help = cause.Code, cause.Details, cause.Help
		}
	}
	p.Text, p.Place, p.Excerpt, p.Exit = message, fmt.Sprintf("%s:%d:%d", e.File, e.Line, e.Column), e.Source, codes[p.Code].exit
	if p.Exit == exitBuild || slices.Contains([]string{"HJ0052", "HJ0053", "HJ0086"}, p.Code) { // a spec that names what cannot be read, or is not there
		p.Exit = exitSpec
	}
	if e.Help != "" {
		p.Help = []string{e.Help}
	}
	return p
}
