package lockfile

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/invopop/jsonschema"
	checker "github.com/santhosh-tekuri/jsonschema/v6"

	"hdjail/artifact"
)

var update = flag.Bool("update", false, "write the schema")

const published = "../../docs/schema/lock.schema.json"

// generate makes the schema from the types. The forms of identities are added by type.
func generate(t *testing.T) []byte {
	t.Helper()
	text := func(pattern string) *jsonschema.Schema { return &jsonschema.Schema{Type: "string", Pattern: pattern} }
	const id = "^[a-z2-7]{32}$"
	byType := map[reflect.Type]*jsonschema.Schema{
		reflect.TypeFor[artifact.DerivationID]():  text(id),
		reflect.TypeFor[artifact.RealizationID](): text(id),
		reflect.TypeFor[artifact.TreeDigest]():    text("^blake3:[0-9a-f]{64}$"),
	}
	by := func(value any) *jsonschema.Schema {
		return &jsonschema.Schema{Type: "object", PropertyNames: text(id), AdditionalProperties: reflectType(byType, value)}
	}
	byType[reflect.TypeFor[artifact.Context]()] = by([]artifact.RealizationID{})
	derivations, realizations := by(artifact.Derivation{}), by([]Realization{})
	byType[reflect.TypeFor[map[artifact.DerivationID]*artifact.Derivation]()] = derivations
	byType[reflect.TypeFor[map[artifact.DerivationID][]Realization]()] = realizations
	s := reflectType(byType, &File{})
	s.Version, s.Title = "https://json-schema.org/draft/2020-12/schema", "hdjail lock file"
	meta, _ := s.Properties.Get("_meta")
	meta.Properties.Set("format", &jsonschema.Schema{Const: Format})
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(data, '\n')
}

// reflectType makes the schema of a type. byType has those that cannot say themselves what their text is.
func reflectType(byType map[reflect.Type]*jsonschema.Schema, value any) *jsonschema.Schema {
	r := jsonschema.Reflector{Anonymous: true, DoNotReference: true, Mapper: func(t reflect.Type) *jsonschema.Schema {
		if s, ok := byType[t]; ok {
			copied := *s
			return &copied
		}
		return nil
	}}
	s := r.Reflect(value)
	s.Version = ""
	return s
}

// TestSchema: what is published is what the types say, and a lock file is valid by it.
func TestSchema(t *testing.T) {
	want := generate(t)
	if *update {
		for _, file := range []string{"lock.schema.json", published} {
			if err := os.WriteFile(file, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, file := range []string{"lock.schema.json", published} {
		there, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(there)); diff != "" {
			t.Errorf("%s is old (-want +got, -update writes it):\n%s", file, diff)
		}
	}
	c := checker.NewCompiler()
	document, err := checker.UnmarshalJSON(bytes.NewReader(want))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.AddResource("lock", document); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("lock")
	if err != nil {
		t.Fatal(err)
	}
	f, _, _ := sample()
	text := encode(t, f)
	for _, test := range []struct {
		text  []byte
		valid bool
	}{{text, true}, {bytes.Replace(text, []byte(`"format": 1`), []byte(`"format": 2`), 1), false}, {bytes.Replace(text, []byte(`"id": "`), []byte(`"id": "0`), 1), false}} {
		value, err := checker.UnmarshalJSON(bytes.NewReader(test.text))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(value); (err == nil) != test.valid {
			t.Errorf("%v\n%s", err, test.text)
		}
	}
}
