package main

import (
	"errors"
	"strings"

	"hdjail/artifact/match"
	"hdjail/build"
	"hdjail/build/plan"
)

// diagnoseMatch tells of matchers that make no answer of what there is.
func diagnoseMatch(err error) (problem, bool) {
	if script := (*plan.ScriptError)(nil); errors.As(err, &script) {
		return problem{Code: "HJ0086", Help: helps("script(FILE) starts from the directory of the spec that says so, or with --match from the working directory")}, true
	}
	var e *build.MatchError
	if !errors.As(err, &e) {
		return problem{}, false
	}
	var many *match.ManyError
	var absent *match.AbsentError
	var quorum *match.QuorumError
	var script *build.ChooserError
	switch {
	case errors.As(err, &many):
		return problem{Code: "HJ0037", Help: helps("take one of them: --match "+quoteArgument(e.Name+"=exact:"+many.Candidates[0].String()),
			"or the newest: --match "+quoteArgument(e.Name+"=latest")+"; match: in a spec says so for good")}, true
	case errors.As(err, &absent):
		return problem{Code: "HJ0085", Help: helps("hdjail show SPEC lists the realizations of a build")}, true
	case errors.As(err, &quorum):
		return problem{Code: "HJ0085", Details: quorum.Details(), Help: helps("let another builder build it, or ask for fewer")}, true
	case errors.As(err, new(*match.AnswerError)):
		return problem{Code: "HJ0086", Help: helps("correct the script; hdjail explain HJ0086 tells what it may print")}, true
	case errors.As(err, &script):
		p := problem{Code: "HJ0086"}
		for _, line := range script.LogTail {
			p.Details = append(p.Details, "  | "+line)
		}
		return p, true
	}
	return problem{}, false
}

// quoteArgument is a word of a command line as a shell takes it.
func quoteArgument(text string) string {
	if strings.ContainsAny(text, "()|* ") {
		return "'" + text + "'"
	}
	return text
}
