package profile

import (
	"os"
	"strings"
	"testing"
)

func TestBadRecords(t *testing.T) {
	good, err := os.ReadFile("testdata/generation.json")
	if err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{
		`"format": 1`:   `"format": 2`,
		`"number": 1`:   `"number": 0`,
		`"time"`:        `"previous": 1, "time"`,
		`"name": "b"`:   `"name": "a"`,
		`"name": "a"`:   `"name": "a/b"`,
		`"version"`:     `"verzion"`,
		`"/hdjail/real`: `"hdjail/real`,
		`"bin/*"`:       `"/bin/*"`,
		`{`:             `[`,
		"  ]\n}\n":      "  ]\n}\n{}",
		"aaaa\"":        "aa1a\"",
	} {
		bad := strings.Replace(string(good), from, to, 1)
		if _, err := readGeneration(strings.NewReader(bad)); bad == string(good) || err == nil {
			t.Errorf("%s for %s is read", to, from)
		}
	}
}

func FuzzReadGeneration(f *testing.F) {
	good, err := os.ReadFile("testdata/generation.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"format":1,"number":2,"previous":1,"artifacts":null}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		g, err := readGeneration(strings.NewReader(string(data)))
		if err != nil {
			return
		}
		text, err := g.encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := readGeneration(strings.NewReader(string(text)))
		if err != nil {
			t.Fatalf("what was read cannot be read again: %v", err)
		}
		if c := Diff(g, again); len(c.Added)+len(c.Removed)+len(c.Changed) > 0 || again.Number != g.Number || !again.Time.Equal(g.Time) {
			t.Errorf("it changes on the way: %v", c)
		}
	})
}
