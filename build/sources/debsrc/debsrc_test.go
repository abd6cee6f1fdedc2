package debsrc

import (
	"errors"
	"reflect"
	"testing"
)

func TestParseList(t *testing.T) {
	for _, c := range []struct {
		data string
		want []Stanza
		bad  int
	}{
		{"", nil, 0},
		{"# deb http://a b c\n\n   \n", nil, 0},
		{"deb http://a/debian stable main contrib # why\n",
			[]Stanza{{[]string{"http://a/debian"}, []string{"stable"}, []string{"main", "contrib"}, map[string]string{}}}, 0},
		{"deb-src\thttp://a\tstable\tmain",
			[]Stanza{{[]string{"http://a"}, []string{"stable"}, []string{"main"}, map[string]string{}}}, 0},
		{"deb [ arch=amd64,arm64 signed-by=/k/a.gpg,/k/b.gpg trusted=yes ] https://a ./\n",
			[]Stanza{{[]string{"https://a"}, []string{"./"}, []string{}, map[string]string{"signed-by": "/k/a.gpg /k/b.gpg", "trusted": "yes"}}}, 0},
		{"deb [Signed-By=/k] https://a b c",
			[]Stanza{{[]string{"https://a"}, []string{"b"}, []string{"c"}, map[string]string{"signed-by": "/k"}}}, 0},
		{"deb http://a b c\nrpm http://a b", nil, 2},
		{"deb http://a", nil, 1},
		{"deb [arch=amd64 http://a b c", nil, 1},
	} {
		got, err := ParseList(c.data)
		var bad *LineError
		if errors.As(err, &bad) != (c.bad > 0) || bad != nil && bad.Line != c.bad {
			t.Errorf("%q: error %v, want line %d", c.data, err, c.bad)
		}
		if err == nil && !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q: %v, want %v", c.data, got, c.want)
		}
	}
}

const sources = `# the archive
Types: deb
# a mirror
URIs: http://deb.debian.org/debian
Suites: bookworm
 bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb deb-src
URIs: https://example.org/repo cdrom:[Debian]/
Suites: ./
Architectures: amd64
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mQINBF
 -----END PGP PUBLIC KEY BLOCK-----


Enabled: No
Types: deb
URIs: http://off.example.org
Suites: x
`

const rewritten = `Types: deb-src
URIs: http://deb.debian.org/debian
Suites: bookworm bookworm-updates
Components: main
signed-by: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb-src
URIs: https://example.org/repo
Suites: ./
signed-by: 
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mQINBF
 -----END PGP PUBLIC KEY BLOCK-----
`

func TestRewrite(t *testing.T) {
	stanzas, err := ParseSources(sources)
	if err != nil {
		t.Fatal(err)
	}
	list, err := ParseList("deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian bookworm main\n" +
		"deb cdrom:[disc]/ bookworm main\n")
	if err != nil {
		t.Fatal(err)
	}
	stanzas = append(stanzas, stanzas...)
	if got := Format(stanzas); got != rewritten {
		t.Errorf("rewritten\n%q\nwant\n%q", got, rewritten)
	}
	want := "Types: deb-src\nURIs: http://deb.debian.org/debian\nSuites: bookworm\nComponents: main\n" +
		"signed-by: /usr/share/keyrings/debian-archive-keyring.gpg\n"
	if got := Format(list); got != want {
		t.Errorf("rewritten\n%s\nwant\n%s", got, want)
	}
	again, err := ParseSources(rewritten)
	if err != nil || Format(again) != rewritten {
		t.Errorf("read again: %v %v", again, err)
	}
}

func TestSourcesErrors(t *testing.T) {
	for data, line := range map[string]int{" continued": 1, "Types: deb\nno colon here\n": 2, "\n\nSpace in name: x": 3} {
		var bad *LineError
		if _, err := ParseSources(data); !errors.As(err, &bad) || bad.Line != line {
			t.Errorf("%q: %v, want line %d", data, err, line)
		}
	}
}

func TestParseRecords(t *testing.T) {
	got, err := ParseRecords(`Package: hello
Version: 2.10-3
Files:
 16678389ba7fddcdfa05e0707d61f043 1864 hello_2.10-3.dsc
Checksums-Sha256:
 42b1e667 1864 hello_2.10-3.dsc
 31e06613 725946 hello_2.10.orig.tar.gz
Directory: pool/main/h/hello

Package: hello
Version: 2.9
Files:
 aaaa 1 hello_2.9.orig.tar.gz
 odd line
`)
	want := []Record{{"hello", "2.10-3", []string{"hello_2.10-3.dsc", "hello_2.10.orig.tar.gz"}},
		{"hello", "2.9", []string{"hello_2.9.orig.tar.gz"}}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v %v, want %v", got, err, want)
	}
}

// FuzzParse looks for input that is read as one thing and written as another.
func FuzzParse(f *testing.F) {
	f.Add(sources)
	f.Add(rewritten)
	f.Add("deb [ arch=amd64 signed-by=/k ] http://a stable main # x\n")
	f.Fuzz(func(t *testing.T, data string) {
		for _, parse := range []func(string) ([]Stanza, error){ParseList, ParseSources} {
			stanzas, err := parse(data)
			if err != nil {
				continue
			}
			text := Format(stanzas)
			again, err := ParseSources(text)
			if err != nil {
				t.Fatalf("%q is not read again: %v", text, err)
			}
			if got := Format(again); got != text {
				t.Errorf("%q became %q", text, got)
			}
		}
		ParseRecords(data)
	})
}
