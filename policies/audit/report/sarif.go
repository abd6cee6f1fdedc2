package report

import (
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"hdjail/policies"
	"hdjail/policies/audit"
)

// sarifRules says what each verdict that is reported means, and how bad it is.
var sarifRules = map[policies.Verdict]struct{ level, text string }{
	policies.Leaked:  {"error", "A file outside the whitelist was visible, so the result may depend on this host."},
	policies.Hidden:  {"warning", "A file outside the whitelist was wanted; the host has it, and it was hidden."},
	policies.Unknown: {"warning", "An access was seen whose path could not be told."},
	policies.Denied:  {"note", "A write, a permission or a call was refused."},
}

type sarifText struct {
	Text string `json:"text"`
}

type sarifRule struct {
	ID            string            `json:"id"`
	Short         sarifText         `json:"shortDescription"`
	Configuration map[string]string `json:"defaultConfiguration"`
}

type sarifResult struct {
	RuleID     string         `json:"ruleId"`
	RuleIndex  int            `json:"ruleIndex"`
	Level      string         `json:"level"`
	Message    sarifText      `json:"message"`
	Locations  []any          `json:"locations"`
	Properties map[string]any `json:"properties"`
}

type sarifRun struct {
	Tool struct {
		Driver struct {
			Name    string      `json:"name"`
			Version string      `json:"version,omitempty"`
			Rules   []sarifRule `json:"rules"`
		} `json:"driver"`
	} `json:"tool"`
	Invocations []sarifInvocation `json:"invocations"`
	Results     []sarifResult     `json:"results"`
}

type sarifInvocation struct {
	Successful    bool          `json:"executionSuccessful"`
	ExitCode      int           `json:"exitCode"`
	Start         string        `json:"startTimeUtc"`
	End           string        `json:"endTimeUtc"`
	Notifications []sarifNotice `json:"toolExecutionNotifications"`
}

type sarifNotice struct {
	Level   string    `json:"level"`
	Message sarifText `json:"message"`
}

// WriteSARIF writes what is reported as SARIF 2.1.0: one rule a verdict, and a result for each access that leaked, was
// hidden or denied, or is unknown. Paths are file: URIs; package and process stand under properties. Version is that of
// hdjail. A record that is not complete has its reasons as notifications of the tool.
func WriteSARIF(w io.Writer, a *audit.Audit, version string) error {
	x := newIndex(a)
	h := a.Header
	run := sarifRun{Results: []sarifResult{}, Invocations: []sarifInvocation{{Successful: h.Complete && h.Exit == 0, ExitCode: h.Exit,
		Start: sarifTime(h.Start), End: sarifTime(h.Start.Add(h.Duration)), Notifications: []sarifNotice{}}}}
	run.Tool.Driver.Name, run.Tool.Driver.Version = "hdjail", version
	index := map[policies.Verdict]int{}
	for i, v := range Reported() {
		index[v] = i
		run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, sarifRule{string(v), sarifText{sarifRules[v].text},
			map[string]string{"level": sarifRules[v].level}})
	}
	if !h.Complete {
		for _, reason := range append([]string{"the record is not complete"}, h.IncompleteReasons...) {
			run.Invocations[0].Notifications = append(run.Invocations[0].Notifications, sarifNotice{"warning", sarifText{Escape(reason)}})
		}
	}
	for _, access := range a.Accesses {
		if i, reported := index[access.Verdict]; reported {
			result := x.sarif(access)
			result.RuleIndex = i
			run.Results = append(run.Results, result)
		}
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", " ")
	err := encoder.Encode(map[string]any{"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": []sarifRun{run}})
	if err != nil {
		return fmt.Errorf("write SARIF: %w", err)
	}
	return nil
}

func sarifTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

func (x *index) sarif(a audit.Access) sarifResult {
	why, allow := x.why(a)
	message := fmt.Sprintf("%s of %s: %s", a.Op, place(a), why)
	if allow != "" {
		message += "; would be allowed by: " + allow
	}
	r := sarifResult{RuleID: string(a.Verdict), Level: sarifRules[a.Verdict].level, Message: sarifText{Escape(message)}, Locations: []any{},
		Properties: map[string]any{"op": a.Op, "outcome": outcome(a), "count": a.Count, "firstSeconds": a.First.Seconds()}}
	if strings.HasPrefix(a.Path, "/") {
		uri := (&url.URL{Scheme: "file", Path: a.Path}).String()
		r.Locations = append(r.Locations, map[string]any{"physicalLocation": map[string]any{"artifactLocation": map[string]string{"uri": uri}}})
	}
	if len(a.Owners) > 0 {
		r.Properties["package"], r.Properties["packageVersion"] = Escape(a.Owners[0].Package), Escape(a.Owners[0].Version)
	}
	if p := x.processes[a.Process]; p != nil {
		r.Properties["process"] = map[string]any{"pid": p.PID, "exe": Escape(p.Exe), "commandLine": Escape(commandLine(p.Argv))}
	}
	return r
}
