package spec

import (
	"slices"
	"strings"
	"testing"
)

// A ':' that no white space follows is part of a plain scalar, however the list of packages is written.
func TestColonsInPlainScalars(t *testing.T) {
	for _, c := range []struct {
		list string
		want []string
	}{
		{"libc6:i386", []string{"libc6:i386"}},
		{"gcc, libc6:i386 , make", []string{"gcc", "libc6:i386", "make"}},
		{"libc6:i386, libc6:amd64", []string{"libc6:i386", "libc6:amd64"}},
		{"9:1, a:1, 1:a", []string{"9:1", "a:1", "1:a"}},
		{"'a:b', \"c:d\"", []string{"a:b", "c:d"}},
		{"\n   a:b,\n   c:d\n ", []string{"a:b", "c:d"}},
	} {
		for _, form := range []string{"host: {packages: [LIST]}\n", "host:\n  packages: [LIST]\n", "{host: {packages: [LIST]}}", "host: {paths: [], packages: [LIST]}\n"} {
			text := strings.Replace(form, "LIST", c.list, 1)
			if strings.HasPrefix(text, "{") {
				text = "{hdjail: 1, name: x, script: a, " + text[1:]
			} else {
				text = good + text
			}
			s, err := Parse("f", []byte(text))
			if err != nil || !slices.Equal(s.Host.Packages, c.want) {
				t.Errorf("%s: %v; want %q", text, err, c.want)
			}
		}
	}
}

func TestColonsInURLs(t *testing.T) {
	const digest = "blake3: bb00000000000000000000000000000000000000000000000000000000000000"
	urls := []string{"debsrc:hello/x.gz", "https://example.org:8080/data", "https://u:p@h:80/", "file:///a"}
	for _, text := range []string{
		"sources: [{" + digest + ", urls: [" + strings.Join(urls, ", ") + "]}]\n",
		"sources:\n  - {" + digest + ", urls: [" + strings.Join(urls, ",") + "]}\n",
		"sources:\n  - " + digest + "\n    urls:\n      - " + strings.Join(urls, "\n      - ") + "\n",
	} {
		s, err := Parse("f", []byte(good+text))
		if err != nil || !slices.Equal(s.Sources[0].URLs, urls) {
			t.Errorf("%s: %v; want %q", text, err, urls)
		}
	}
}

// What is a mapping stays one, and every place stays the one in the text.
func TestColonsOfMappings(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"host: {packages: [{a: b}]}\n", "f:4:19: want a string, got a mapping"},
		{"host: {packages: [a: b]}\n", "f:4:19: want a string, got a mapping"},
		{"host: {packages: [\"a\":b]}\n", "f:4:19: want a string, got a mapping"},
		{"host: {packages: [é:b]}\n", `f:4:19: "é:b" is no name of a package`},
		{"host: {packages: [a:b, c:d, e:f/]}\n", `f:4:29: "e:f/" is no name of a package`},
		{"host: {packages: [a:b], paths: [x]}\n", `f:4:33: host path "x" is not absolute`},
		{"host: {packages: [a:b:c]}\n", `f:4:19: "a:b:c" is no name of a package`},
		{"host: {packages: [a::b]}\n", `f:4:19: "a::b" is no name of a package`},
		{"host: {packages: [:b]}\n", `f:4:19: ":b" is no name of a package`},
		{"host: {packages: [a :b]}\n", `f:4:19: "a :b" is no name of a package`},
		{"host: {packages: [a:b:]}\n", "f:4:20: text with several colons is not clear"},
		{"environment: {A:b: c}\n", "f:4:16: text with several colons is not clear"},
		{"environment: {A:b}\n", `f:4:15: "A:b" is no name of a variable`},
		{"environment: {A: b:c, B: [d]}\n", "f:4:26: want a string, got a list"},
	} {
		_, err := Parse("f", []byte(good+c.text))
		if err == nil || err.Error() != c.want {
			t.Errorf("%s: %v; want %s", c.text, err, c.want)
		}
	}
	s, err := Parse("f", []byte(good+"environment: {A: b:c, \"B\":d, C: {}}\n"))
	if err == nil {
		t.Errorf("accepted %v", s.Environment)
	}
	s, err = Parse("f", []byte(good+"environment: {A: b:c, \"B\":d, C: ':', D: :e}\n"))
	if err != nil || s.Environment["A"] != "b:c" || s.Environment["B"] != "d" || s.Environment["C"] != ":" || s.Environment["D"] != ":e" {
		t.Errorf("%v", err)
	}
}

// FuzzColons: a text with colons is the same in all styles. White space, brackets and what begins something else
// after a ':' are for quotes.
func FuzzColons(f *testing.F) {
	for _, seed := range []string{"libc6:i386", "a:b:c", "https://e.org:8080/d?x=1&y", "::a", "1:2", "é:ü", "a::", "true:no"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, x string) {
		const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789éü/._+=~:"
		if strings.Trim(x, letters) != "" || strings.Trim(x, "é") == "" || strings.HasSuffix(x, ":") || !strings.Contains(x, ":") {
			return
		}
		for _, form := range []string{"packages:\n  - X\n", "packages: [X]\n", "{packages: [X]}", "{packages: [y, X , y]}", "- {host: {packages: [X,\n y]}}"} {
			n, err := parseYAML("f", []byte(strings.Replace(form, "X", x, 1)))
			if err != nil {
				t.Fatalf("%s of %q: %v", form, x, err)
			}
			for n.kind == isMapping || n.kind == isSequence && n.values[0].kind == isMapping {
				n = n.values[0]
			}
			if i := len(n.values) / 3; n.values[i].kind != isString || n.values[i].text != x {
				t.Fatalf("%s of %q: %+v", form, x, n.values[i])
			}
		}
	})
}
