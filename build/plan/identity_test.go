package plan

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"hdjail/artifact"
)

// document is a spec as a tree of maps, lists and strings, which is rendered in many ways that mean the same.
type document map[string]any

func drawDocument(t *rapid.T) document {
	name := rapid.StringMatching(`[A-Za-z0-9_+-][A-Za-z0-9_+.-]{0,10}`)
	text := rapid.StringMatching(`[ -~]{0,12}`)
	hex := rapid.StringMatching(`[0-9a-f]{64}`)
	d := document{"hdjail": json.Number("1"), "name": name.Draw(t, "name"), "script": text.Draw(t, "script") + "\nmake  # x: y\n"}
	if rapid.Bool().Draw(t, "has version") {
		d["version"] = name.Draw(t, "version")
	}
	env := map[string]any{}
	for i := range rapid.IntRange(0, 3).Draw(t, "variables") {
		env["V"+strconv.Itoa(i)] = strings.ReplaceAll(text.Draw(t, "value"), "$", "$$") // no reference
	}
	d["environment"] = env
	sources := []any{}
	for i := range rapid.IntRange(0, 3).Draw(t, "sources") {
		s := map[string]any{rapid.SampledFrom([]string{"sha256", "blake3"}).Draw(t, "kind"): hex.Draw(t, "digest"), "target": "t" + strconv.Itoa(i)}
		s["urls"] = []any{"http://h/" + strconv.Itoa(i)}
		sources = append(sources, s)
	}
	d["sources"] = sources
	d["host"] = map[string]any{"packages": anys(rapid.SliceOfDistinct(rapid.SampledFrom([]string{"gcc", "make", "python3"}), rapid.ID).Draw(t, "packages"))}
	d["promises"] = anys(rapid.SliceOfDistinct(rapid.SampledFrom([]string{"bin/a", "lib/b", "c"}), rapid.ID).Draw(t, "promises"))
	d["dependencies"] = []any{map[string]any{"spec": "dep.yaml", "as": "DEP"}}
	return d
}

func anys(list []string) []any {
	out := []any{}
	for _, s := range list {
		out = append(out, s)
	}
	return out
}

// render writes the document as YAML or JSON, with keys in a drawn order, comments and white space.
func render(t *rapid.T, d document) string {
	if rapid.Bool().Draw(t, "as JSON") {
		indent := rapid.SampledFrom([]string{"", " ", "\t"}).Draw(t, "indent")
		text, err := json.MarshalIndent(map[string]any(d), "", indent)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	var b strings.Builder
	for _, key := range rapid.Permutation(slices.Sorted(maps.Keys(d))).Draw(t, "order") {
		b.WriteString(rapid.SampledFrom([]string{"", "\n", "# a comment: {\n", "   # one\n\n"}).Draw(t, "between"))
		value := d[key]
		if text, ok := value.(string); ok && key == "script" && rapid.Bool().Draw(t, "literal") && literal(text) {
			b.WriteString("script: |\n" + indented(text))
			continue
		}
		fmt.Fprintf(&b, "%s: %s%s\n", key, flow(t, value), rapid.SampledFrom([]string{"", "  # tail"}).Draw(t, "tail"))
	}
	if rapid.Bool().Draw(t, "line ends") {
		return strings.ReplaceAll(b.String(), "\n", "\r\n")
	}
	return b.String()
}

// literal reports whether a text can stand in a block as it is.
func literal(text string) bool {
	return strings.TrimSpace(text) != "" && !strings.HasPrefix(text, " ") && text[0] != '\n'
}

func indented(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString("    " + line)
	}
	return b.String()
}

func flow(t *rapid.T, value any) string {
	pad := rapid.SampledFrom([]string{"", " ", "  "}).Draw(t, "pad")
	switch v := value.(type) {
	case map[string]any:
		var items []string
		for _, key := range rapid.Permutation(slices.Sorted(maps.Keys(v))).Draw(t, "order") {
			items = append(items, key+": "+flow(t, v[key]))
		}
		return "{" + pad + strings.Join(items, ","+pad+" ") + pad + "}"
	case []any:
		var items []string
		for _, item := range v {
			items = append(items, flow(t, item))
		}
		return "[" + pad + strings.Join(items, ","+pad) + pad + "]"
	case json.Number:
		return v.String()
	}
	text := value.(string)
	if !strings.Contains(text, "\n") && rapid.Bool().Draw(t, "single quotes") {
		return "'" + strings.ReplaceAll(text, "'", "''") + "'"
	}
	return strconv.Quote(text)
}

// identify writes the text and returns its derivation ID.
func identify(t *rapid.T, r *Resolver, dir, file, text string) artifact.DerivationID {
	if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	g, err := LoadGraph(t.Context(), Targets{Dir: dir, Files: []string{file}}, fakeStore{})
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	p, err := r.Resolve(t.Context(), g)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return p.Targets[0].ID
}

// TestSameIdentity: form, order of keys, comments, white space, URLs and what only guides a build never change an ID, and
// neither does the environment of whoever asks.
func TestSameIdentity(t *testing.T) {
	dir := write(t, map[string]string{"dep.yaml": minimal("dep")})
	r := newResolver()
	rapid.Check(t, func(t *rapid.T) {
		d := drawDocument(t)
		first := identify(t, r, dir, "a.yaml", render(t, d))
		for _, s := range d["sources"].([]any) {
			s.(map[string]any)["urls"] = []any{"https://other/x", "debsrc:a/b"}
		}
		d["limits"] = map[string]any{"memory": "1GiB", "wall": "5m"}
		d["match"] = "only"
		d["mode"] = "fail"
		d["links"] = []any{map[string]any{"select": "bin/*"}}
		slices.Reverse(d["promises"].([]any))
		slices.Reverse(d["host"].(map[string]any)["packages"].([]any))
		if second := identify(t, r, dir, "b.yaml", render(t, d)); second != first {
			t.Fatalf("IDs %s and %s of one spec: %v", first, second, d)
		}
	})
}

// TestOtherIdentity: whatever can influence a build changes its ID, each in another way.
func TestOtherIdentity(t *testing.T) {
	dir := write(t, map[string]string{"dep.yaml": minimal("dep"), "dep2.yaml": minimal("dep2"), "file": "x", "file2": "y", "tree/f": "x"})
	base := document{"hdjail": json.Number("1"), "name": "a", "script": "make\n", "sources": []any{source("sha256", "a"), source("sha256", "b")},
		"environment": map[string]any{"A": "b"}, "promises": []any{"bin/a"}, "host": map[string]any{"packages": []any{"gcc"}},
		"dependencies": []any{dep("dep.yaml", "DEP"), dep("dep2.yaml", "DEP2")}}
	set := func(key string, value any) func(document) { return func(d document) { d[key] = value } }
	changes := map[string]func(document){
		"name":            set("name", "b"),
		"version":         set("version", "1.1"),
		"version text":    set("version", "1.10"),
		"script":          set("script", "make \n"),
		"script end":      set("script", "make"),
		"interpreter":     set("interpreter", "/bin/sh"),
		"interpreter arg": set("interpreter", []any{"/bin/sh", "-e u"}),
		"variable":        set("environment", map[string]any{"A": "c"}),
		"variable name":   set("environment", map[string]any{"B": "b"}),
		"more variables":  set("environment", map[string]any{"A": "b", "B": ""}),
		"promise":         set("promises", []any{"bin/b"}),
		"no promise":      set("promises", []any{}),
		"source":          set("sources", []any{source("sha256", "a"), source("sha256", "c")}),
		"algorithm":       set("sources", []any{source("sha256", "a"), source("blake3", "b")}),
		"source order":    set("sources", []any{source("sha256", "b"), source("sha256", "a")}),
		"fewer sources":   set("sources", []any{source("sha256", "a")}),
		"source target":   set("sources", []any{source("sha256", "a"), with(source("sha256", "b"), "target", "x")}),
		"source unpack":   set("sources", []any{source("sha256", "a"), with(with(source("sha256", "b"), "target", "x"), "unpack", "none")}),
		"local file":      set("sources", []any{map[string]any{"path": "file"}}),
		"other name":      set("sources", []any{map[string]any{"path": "file2"}}),
		"local tree":      set("sources", []any{map[string]any{"path": "tree"}}),
		"git":             set("sources", []any{map[string]any{"git": strings.Repeat("a", 40)}}),
		"package":         set("host", map[string]any{"packages": []any{"make"}}),
		"more packages":   set("host", map[string]any{"packages": []any{"gcc", "make"}}),
		"path":            set("host", map[string]any{"packages": []any{"gcc"}, "paths": []any{map[string]any{"path": dir + "/file", "id": "1"}}}),
		"path id":         set("host", map[string]any{"packages": []any{"gcc"}, "paths": []any{map[string]any{"path": dir + "/file", "id": "2"}}}),
		"path content":    set("host", map[string]any{"packages": []any{"gcc"}, "paths": []any{dir + "/file"}}),
		"dependency":      set("dependencies", []any{dep("dep.yaml", "DEP")}),
		"dependencies":    set("dependencies", []any{dep("dep2.yaml", "DEP2"), dep("dep.yaml", "DEP")}),
		"as":              set("dependencies", []any{dep("dep.yaml", "D"), dep("dep2.yaml", "DEP2")}),
		"many":            set("dependencies", []any{with(dep("dep.yaml", "DEP"), "many", true), dep("dep2.yaml", "DEP2")}),
		"mode log":        set("mode", "log"),
		"mode off":        set("mode", "off"),
	}
	seen := map[artifact.DerivationID]string{}
	note := func(what string, id artifact.DerivationID) {
		if other, known := seen[id]; known {
			t.Errorf("%s and %s have one ID", what, other)
		}
		seen[id] = what
	}
	of := func(r *Resolver, d document) artifact.DerivationID {
		text, err := json.Marshal(map[string]any(d))
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(dir, "a.yaml")
		if err := os.WriteFile(name, text, 0o644); err != nil {
			t.Fatal(err)
		}
		return resolve(t, r, dir, "a.yaml").Targets[0].ID
	}
	note("base", of(newResolver(), base))
	for what, change := range changes {
		d := maps.Clone(base)
		change(d)
		note(what, of(newResolver(), d))
	}
	for what, change := range map[string]func(*Resolver){
		"system": func(r *Resolver) { r.System = "aarch64-linux" }, "prefix": func(r *Resolver) { r.Prefix = "/t" },
		"package version":     func(r *Resolver) { r.Host.(*fakeHost).versions["gcc"] = "13" },
		"interpreter version": func(r *Resolver) { r.Host.(*fakeHost).versions["dash"] = "2" },
		"degradation":         func(r *Resolver) { r.Degraded = []string{"netns"} },
	} {
		r := newResolver()
		change(r)
		note(what, of(r, base))
	}
	if err := os.WriteFile(filepath.Join(dir, "dep.yaml"), []byte(strings.Replace(minimal("dep"), "make", "makes", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	note("script of a dependency", of(newResolver(), base))
}

func source(kind, digit string) map[string]any {
	return map[string]any{kind: strings.Repeat(digit, 64)}
}

func dep(spec, as string) map[string]any { return map[string]any{"spec": spec, "as": as} }

func with(m map[string]any, key string, value any) map[string]any {
	m = maps.Clone(m)
	m[key] = value
	return m
}

// TestOrderOfPlan: the order of a plan depends on what is in it, not on how it was asked for.
func TestOrderOfPlan(t *testing.T) {
	files := map[string]string{}
	for i := range 30 {
		var deps []string
		for j := i / 2; j < i; j += 3 {
			deps = append(deps, fmt.Sprintf("%d.yaml", j))
		}
		files[fmt.Sprintf("%d.yaml", i)] = minimal(fmt.Sprintf("n%d", i), deps...)
	}
	dir := write(t, files)
	targets := slices.Sorted(maps.Keys(files))
	want := stepNames(resolve(t, newResolver(), dir, targets...))
	rapid.Check(t, func(rt *rapid.T) {
		got := stepNames(resolve(t, newResolver(), dir, rapid.Permutation(targets).Draw(rt, "targets")...))
		if !slices.Equal(got, want) {
			rt.Fatalf("order %v, want %v", got, want)
		}
	})
}
