package sitelog

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func clock() time.Time { return time.Unix(1800000000, 0) }

// written is a log of four entries: its path, and its lines.
func written(t *testing.T) (name string, lines [][]byte) {
	t.Helper()
	name = filepath.Join(t.TempDir(), "site.log")
	for range 2 { // reopened in between
		l, err := Open(name, clock, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range []Entry{{Event: "request", UID: 1, Decision: "refused", Reason: "a \"reason\"\n"}, {Event: "built", UID: 2, Bytes: 7}} {
			if err := l.Append(e); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return name, bytes.SplitAfter(bytes.TrimSuffix(text, nil), []byte("\n"))[:4]
}

func TestVerify(t *testing.T) {
	name, lines := written(t)
	found, err := Verify(name, "")
	if err != nil || found.Entries != 4 || len(found.Last) != 64 {
		t.Fatalf("found %+v, %v", found, err)
	}
	for what, test := range map[string]struct {
		lines [][]byte
		line  int64
	}{
		"changed":         {[][]byte{lines[0], bytes.Replace(lines[1], []byte(`"bytes":7`), []byte(`"bytes":8`), 1), lines[2], lines[3]}, 2},
		"first removed":   {lines[1:], 1},
		"removed":         {[][]byte{lines[0], lines[2], lines[3]}, 2},
		"reordered":       {[][]byte{lines[0], lines[2], lines[1], lines[3]}, 2},
		"doubled":         {[][]byte{lines[0], lines[0], lines[1]}, 2},
		"end removed":     {lines[:3], 4},
		"all removed":     {nil, 1},
		"end cut":         {[][]byte{lines[0], lines[1], lines[2], lines[3][:len(lines[3])-9]}, 4},
		"newline lost":    {[][]byte{lines[0], lines[1], lines[2], bytes.TrimSuffix(lines[3], []byte("\n"))}, 4},
		"newline between": {[][]byte{lines[0], []byte("\n"), lines[1], lines[2], lines[3]}, 2},
		"no hash":         {[][]byte{lines[0], []byte("{}\n")}, 2},
		"too long":        {[][]byte{lines[0], bytes.Repeat([]byte("x"), MaxLine+1)}, 2},
	} {
		t.Run(what, func(t *testing.T) {
			other := filepath.Join(t.TempDir(), "site.log")
			head, err := os.ReadFile(HeadName(name))
			if err := errors.Join(err, os.WriteFile(other, bytes.Join(test.lines, nil), 0o600), os.WriteFile(HeadName(other), head, 0o600)); err != nil {
				t.Fatal(err)
			}
			var damage *DamageError
			if _, err := Verify(other, ""); !errors.As(err, &damage) || damage.Line != test.line {
				t.Errorf("error %v, want one of line %d", err, test.line)
			}
			if _, err := Open(other, clock, nil); !errors.As(err, &damage) {
				t.Errorf("opened with %v", err)
			}
		})
	}
}

// What a process that died left behind is no damage: a line that the head does not know yet, and one that is not whole.
func TestCrash(t *testing.T) {
	name, lines := written(t)
	older := name + ".older"
	head, err := os.ReadFile(HeadName(name))
	if err != nil {
		t.Fatal(err)
	}
	three := strings.Replace(string(head), "0004", "0003", 1)[:21] + string(lines[2][len(lines[2])-65:])
	if err := errors.Join(os.WriteFile(older, bytes.Join(lines, nil), 0o600), os.WriteFile(HeadName(older), []byte(three), 0o600)); err != nil {
		t.Fatal(err)
	}
	if found, err := Verify(older, ""); err != nil || found.Entries != 4 {
		t.Errorf("found %+v, %v", found, err)
	}
	f, err := os.OpenFile(older, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteString(`{"seq":5,"prev`)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	var events []string
	l, err := Open(older, clock, func(e Entry) { events = append(events, e.Event) })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(older, clock, nil); err == nil {
		t.Error("opened twice")
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if want := []string{"request", "built", "request", "built"}; !slices.Equal(events, want) {
		t.Errorf("replayed %v", events)
	}
	if found, err := Verify(older, ""); err != nil || found.Entries != 5 {
		t.Errorf("after the repair: %+v, %v", found, err)
	}
}
