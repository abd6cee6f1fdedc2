package spec

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"github.com/invopop/jsonschema"
	checker "github.com/santhosh-tekuri/jsonschema/v6"

	"hdjail/artifact"
	"hdjail/artifact/match"
	"hdjail/policies"
	"hdjail/profile/links"
)

const published = "../../docs/schema/spec.schema.json"

// generate makes the schema from the types. What a type cannot say, the forms of text, is added by type and by key.
func generate(t *testing.T) []byte {
	t.Helper()
	text := func(pattern string) *jsonschema.Schema { return &jsonschema.Schema{Type: "string", Pattern: pattern} }
	number := &jsonschema.Schema{Type: "number", ExclusiveMinimum: "0"}
	either := func(options ...*jsonschema.Schema) *jsonschema.Schema { return &jsonschema.Schema{OneOf: options} }
	strings := &jsonschema.Schema{Type: "array", Items: &jsonschema.Schema{Type: "string", MinLength: new(uint64(1))}}
	byType := map[reflect.Type]*jsonschema.Schema{
		reflect.TypeFor[Size]():                  either(number, text(`^[0-9.]+ *(B|[kKMGT]i?B)?$`)),
		reflect.TypeFor[time.Duration]():         either(number, text(`^[0-9.]+(ns|us|µs|ms|s|m|h)([0-9.]+(ns|us|µs|ms|s|m|h))*$`)),
		reflect.TypeFor[policies.Mode]():         {Type: "string", Enum: []any{"off", "log", "hide", "fail"}},
		reflect.TypeFor[*match.Matcher]().Elem(): text(""),
		reflect.TypeFor[artifact.Promise]():      promiseSchema(),
		reflect.TypeFor[links.Globs]():           {Items: &jsonschema.Schema{Type: "string"}}, // its tag says string or array
		reflect.TypeFor[map[string]string]():     {Type: "object", PropertyNames: text(`^[A-Za-z_][A-Za-z0-9_]*$`), AdditionalProperties: &jsonschema.Schema{AnyOf: []*jsonschema.Schema{{Type: "string"}, {Type: "number"}, {Type: "boolean"}}}},
	}
	r := jsonschema.Reflector{Anonymous: true, DoNotReference: true, Mapper: func(t reflect.Type) *jsonschema.Schema {
		if s, ok := byType[t]; ok {
			copied := *s
			return &copied
		}
		return nil
	}}
	if err := r.AddGoComments("hdjail/build/spec", "."); err != nil {
		t.Fatal(err)
	}
	s := r.Reflect(&Spec{})
	s.Title = "hdjail spec"
	at := func(schema *jsonschema.Schema, key string) *jsonschema.Schema {
		found, ok := schema.Properties.Get(key)
		if !ok {
			t.Fatalf("the types have no key %q", key)
		}
		return found
	}
	name := either(text(`^[A-Za-z0-9_+-][A-Za-z0-9_+.-]*$`), &jsonschema.Schema{Type: "number"})
	replace := func(schema *jsonschema.Schema, key string, with *jsonschema.Schema) {
		copied := *with
		copied.Description = at(schema, key).Description
		schema.Properties.Set(key, &copied)
	}
	replace(s, "hdjail", &jsonschema.Schema{Const: Format})
	replace(s, "network", &jsonschema.Schema{Const: "none"})
	replace(s, "interpreter", either(text(`^(/|\$\{)`), strings))
	for _, key := range []string{"name", "version", "policy"} {
		replace(s, key, name)
	}
	replace(s, "version", either(text(`^([A-Za-z0-9_+-][A-Za-z0-9_+.-]*|.*\$\{.*)$`), &jsonschema.Schema{Type: "number"}))
	at(s, "script").MinLength = new(uint64(1))
	source, dependency, path := at(s, "sources").Items, at(s, "dependencies").Items, at(at(s, "host"), "paths")
	replace(source, "sha256", text("^[0-9a-fA-F]{64}$"))
	replace(source, "blake3", text("^[0-9a-fA-F]{64}$"))
	replace(source, "git", text("^[0-9a-fA-F]{40}$"))
	replace(source, "unpack", &jsonschema.Schema{Type: "string", Enum: []any{"auto", "none"}})
	replace(dependency, "id", text("^[a-z2-7]{32}$"))
	replace(path.Items, "path", text("^/."))
	source.OneOf = exactlyOne("sha256", "blake3", "git", "path")
	dependency.OneOf = exactlyOne("spec", "id")
	path.Items = either(text("^/."), path.Items)
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(data, '\n')
}

// promiseSchema is a path, or a mapping.
func promiseSchema() *jsonschema.Schema {
	object := &jsonschema.Schema{Type: "object", Required: []string{"path"}, AdditionalProperties: jsonschema.FalseSchema, Properties: jsonschema.NewProperties()}
	object.Properties.Set("path", &jsonschema.Schema{Type: "string", MinLength: new(uint64(1))})
	object.Properties.Set("kind", &jsonschema.Schema{Type: "string", Pattern: `^(exists|elf|exec|nonempty|sha256=[0-9a-f]{64}|soname=[^/]+)$`})
	object.Properties.Set("name", &jsonschema.Schema{Type: "string", Pattern: `^[A-Za-z0-9_+-][A-Za-z0-9_+.-]*$`})
	return &jsonschema.Schema{OneOf: []*jsonschema.Schema{{Type: "string", MinLength: new(uint64(1))}, object}}
}

func exactlyOne(keys ...string) []*jsonschema.Schema {
	var list []*jsonschema.Schema
	for _, key := range keys {
		list = append(list, &jsonschema.Schema{Required: []string{key}})
	}
	return list
}

// TestSchema: what is published is what the types say, and the decoder knows the same keys.
func TestSchema(t *testing.T) {
	want := generate(t)
	if *update {
		for _, file := range []string{"spec.schema.json", published} {
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	copied, err := os.ReadFile(published)
	if err != nil {
		t.Fatal(err)
	}
	embedded, err := os.ReadFile("spec.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(embedded)); diff != "" {
		t.Errorf("spec.schema.json is old (-want +got, -update writes it):\n%s", diff)
	}
	if !bytes.Equal(embedded, copied) {
		t.Errorf("%s differs from spec.schema.json", published)
	}
	if !*update && !bytes.Equal(embedded, Schema()) {
		t.Error("Schema returns something else")
	}
	for what, pair := range map[string][2][]string{
		"spec":         {names(specFields), keys(reflect.TypeFor[Spec]())},
		"host":         {names(hostFields), keys(reflect.TypeFor[Host]())},
		"sources":      {names(sourceFields), keys(reflect.TypeFor[Source]())},
		"dependencies": {names(dependencyFields), keys(reflect.TypeFor[Dependency]())},
		"host.paths":   {names(hostPathFields), keys(reflect.TypeFor[HostPath]())},
		"promises":     {names(promiseFields), keys(reflect.TypeFor[artifact.Promise]())},
		"limits":       {names(limitFields), keys(reflect.TypeFor[Limits]())},
		"links":        {names(ruleFields), keys(reflect.TypeFor[links.Rule]())},
	} {
		slices.Sort(pair[0])
		if diff := cmp.Diff(pair[0], pair[1]); diff != "" {
			t.Errorf("%s: keys of the decoder and of the type differ (-decoder +type):\n%s", what, diff)
		}
	}
}

func keys(t reflect.Type) []string {
	var list []string
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		if name != "" && name != "-" {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}

// TestSchemaAgrees: the schema takes what Parse takes, and refuses structural mistakes that Parse refuses.
func TestSchemaAgrees(t *testing.T) {
	compiler := checker.NewCompiler()
	document, err := checker.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	if err := compiler.AddResource("spec.json", document); err != nil {
		t.Fatal(err)
	}
	compiled, err := compiler.Compile("spec.json")
	if err != nil {
		t.Fatal(err)
	}
	examples, err := filepath.Glob("../../examples/*.yaml")
	if err != nil || len(examples) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	texts := map[string]bool{full: true, good: true,
		good + "dependancies: []\n": false, "hdjail: 2\nname: x\nscript: a\n": false, "name: x\nscript: a\n": false,
		good + "sources: [{urls: [a:b]}]\n": false, good + "sources: [{path: a, git: b}]\n": false, good + "mode: strict\n": false,
		good + "limits: {memory: 2 gigs}\n": false, good + "host: {paths: [opt]}\n": false, good + "environment: {A-B: c}\n": false,
		good + "dependencies: [{as: A}]\n": false, good + "promises: bin/x\n": false, good + "promises: [{path: a, kind: soname=libz.so.1, name: z}, b]\n": true, good + "promises: [{path: a, kind: odd}]\n": false, "hdjail: 1\nname: a/b\nscript: a\n": false}
	for _, file := range examples {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		texts[string(text)] = true
	}
	for text, valid := range texts {
		if _, err := Parse("f", []byte(text)); (err == nil) != valid {
			t.Errorf("Parse: %v\n%s", err, text)
		}
		asJSON, err := yaml.YAMLToJSON([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		value, err := checker.UnmarshalJSON(bytes.NewReader(asJSON))
		if err != nil {
			t.Fatal(err)
		}
		if err := compiled.Validate(value); (err == nil) != valid {
			t.Errorf("schema: %v\n%s", err, text)
		}
	}
}
