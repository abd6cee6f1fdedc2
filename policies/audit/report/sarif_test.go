package report

import (
	"bytes"
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"hdjail/policies/audit"
	"hdjail/policies/audit/audittest"
)

// sarifSchema is what SARIF 2.1.0 asks of the objects that are written here: what has to be there, and of which form.
const sarifSchema = `{
"type": "object", "required": ["version", "runs"], "additionalProperties": false,
"properties": {
  "$schema": {"type": "string", "format": "uri"}, "version": {"const": "2.1.0"},
  "runs": {"type": "array", "minItems": 1, "items": {"type": "object", "required": ["tool"], "additionalProperties": false, "properties": {
    "tool": {"type": "object", "required": ["driver"], "properties": {"driver": {"type": "object", "required": ["name"], "additionalProperties": false, "properties": {
      "name": {"type": "string", "minLength": 1}, "version": {"type": "string"},
      "rules": {"type": "array", "uniqueItems": true, "items": {"type": "object", "required": ["id"], "properties": {
        "id": {"type": "string"}, "shortDescription": {"$ref": "#/$defs/text"},
        "defaultConfiguration": {"type": "object", "properties": {"level": {"$ref": "#/$defs/level"}}}}}}}}}},
    "invocations": {"type": "array", "items": {"type": "object", "required": ["executionSuccessful"], "properties": {
      "executionSuccessful": {"type": "boolean"}, "exitCode": {"type": "integer"},
      "startTimeUtc": {"type": "string", "format": "date-time"}, "endTimeUtc": {"type": "string", "format": "date-time"},
      "toolExecutionNotifications": {"type": "array", "items": {"type": "object", "required": ["message"], "properties": {
        "message": {"$ref": "#/$defs/text"}, "level": {"$ref": "#/$defs/level"}}}}}}},
    "results": {"type": "array", "items": {"type": "object", "required": ["message"], "additionalProperties": false, "properties": {
      "ruleId": {"type": "string"}, "ruleIndex": {"type": "integer", "minimum": 0}, "level": {"$ref": "#/$defs/level"},
      "message": {"$ref": "#/$defs/text"}, "properties": {"type": "object"},
      "locations": {"type": "array", "items": {"type": "object", "properties": {"physicalLocation": {"type": "object",
        "required": ["artifactLocation"], "properties": {"artifactLocation": {"type": "object", "properties": {
          "uri": {"type": "string", "format": "uri", "pattern": "^file:///[!-~]*$"}}}}}}}}}}}}}}},
"$defs": {"text": {"type": "object", "required": ["text"], "properties": {"text": {"type": "string", "minLength": 1}}},
  "level": {"enum": ["none", "note", "warning", "error"]}}}`

func TestSARIF(t *testing.T) {
	schema, err := jsonschema.UnmarshalJSON(strings.NewReader(sarifSchema))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource("sarif.json", schema); err != nil {
		t.Fatal(err)
	}
	compiled, err := compiler.Compile("sarif.json")
	if err != nil {
		t.Fatal(err)
	}
	for name, a := range map[string]*audit.Audit{"sample": audittest.Sample(1000), "hostile": audittest.HostileAudit(), "empty": {}} {
		var b bytes.Buffer
		if err := WriteSARIF(&b, a, "1"); err != nil {
			t.Fatal(err)
		}
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(b.Bytes()))
		if err == nil {
			err = compiled.Validate(value)
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		checkResults(t, b.Bytes(), Select(a, Reported()))
	}
}

// checkResults: every result has the rule of its verdict, and its URI is the path, byte for byte.
func checkResults(t *testing.T, text []byte, a *audit.Audit) {
	t.Helper()
	var log struct {
		Runs []struct {
			Tool struct {
				Driver struct{ Rules []struct{ ID string } }
			}
			Results []struct {
				RuleID    string
				RuleIndex int
				Locations []struct {
					PhysicalLocation struct{ ArtifactLocation struct{ URI string } }
				}
			}
		}
	}
	if err := json.Unmarshal(text, &log); err != nil {
		t.Fatal(err)
	}
	run := log.Runs[0]
	if len(run.Results) != len(a.Accesses) || len(run.Tool.Driver.Rules) != 4 {
		t.Fatalf("%d results of %d rules for %d accesses", len(run.Results), len(run.Tool.Driver.Rules), len(a.Accesses))
	}
	for i, r := range run.Results {
		access := a.Accesses[i]
		if r.RuleID != string(access.Verdict) || run.Tool.Driver.Rules[r.RuleIndex].ID != r.RuleID {
			t.Errorf("%+v is a result of rule %s, %d", access, r.RuleID, r.RuleIndex)
		}
		if access.Path == "" && len(r.Locations) == 0 {
			continue
		}
		uri, err := url.Parse(r.Locations[0].PhysicalLocation.ArtifactLocation.URI)
		if err != nil || uri.Path != access.Path || uri.Host != "" {
			t.Errorf("%q has the URI %v, %v", access.Path, uri, err)
		}
	}
}
