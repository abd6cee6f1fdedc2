package artifact

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestIdentityTextRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		raw := rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "bytes")
		d, r, tree := DerivationID(raw[:20]), RealizationID(raw[:20]), TreeDigest(raw)
		if back, err := ParseDerivationID(d.String()); err != nil || back != d || len(d.String()) != IDLength {
			t.Fatalf("%v reads as %v: %v", d, back, err)
		}
		if back, err := ParseRealizationID(r.String()); err != nil || back != r {
			t.Fatalf("%v reads as %v: %v", r, back, err)
		}
		if back, err := ParseTreeDigest(tree.String()); err != nil || back != tree {
			t.Fatalf("%v reads as %v: %v", tree, back, err)
		}
		text := rapid.StringMatching(`[a-z2-7A-Z018=]{30,34}`).Draw(t, "text")
		id, err := ParseDerivationID(text)
		if (err == nil) != (len(text) == IDLength && strings.Trim(text, idAlphabet) == "") {
			t.Fatalf("%q: %v", text, err)
		}
		if err == nil && id.String() != text {
			t.Fatalf("%q reads as %s", text, id)
		}
	})
}

// TestRecordRoundTrip: a record reads back as it was written, times to the nanosecond and in any zone.
func TestRecordRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		moment := func(name string) time.Time {
			zone := time.FixedZone("z", 60*rapid.IntRange(-12*60, 14*60).Draw(t, name+" zone"))
			return time.Unix(rapid.Int64Range(0, 250_000_000_000).Draw(t, name), rapid.Int64Range(0, 999_999_999).Draw(t, name+" ns")).In(zone)
		}
		complete := rapid.Bool().Draw(t, "complete")
		r := BuildRecord{Derivation: DerivationID{1}, Purpose: "build", Start: moment("start"), End: moment("end"), Complete: &complete,
			Verdicts: map[string]int64{"hidden": rapid.Int64Min(0).Draw(t, "hidden")}, Failure: "exit", Exit: rapid.IntRange(0, 255).Draw(t, "exit")}
		data, err := json.Marshal(r)
		var back BuildRecord
		if err2 := json.Unmarshal(data, &back); err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
		if !back.Start.Equal(r.Start) || !back.End.Equal(r.End) || *back.Complete != complete || back.Verdicts["hidden"] != r.Verdicts["hidden"] || back.Exit != r.Exit {
			t.Fatalf("%+v reads as %+v", r, back)
		}
	})
}

func TestMalformedIdentities(t *testing.T) {
	id := strings.Repeat("a", IDLength)
	hex := strings.Repeat("0", 64)
	for _, text := range []string{"", id[1:], id + "a", strings.ToUpper(id), id[1:] + "1", id[1:] + "=", id[2:] + "\r\n", " " + id[1:], "../" + id[3:]} {
		_, err1 := ParseDerivationID(text)
		_, err2 := ParseRealizationID(text)
		if !errors.As(err1, new(*BadIDError)) || !errors.As(err2, new(*BadIDError)) {
			t.Errorf("%q: %v, %v", text, err1, err2)
		}
	}
	for _, text := range []string{"", hex, "sha256:" + hex, "blake3:" + hex[1:], "blake3:" + hex[1:] + "A", "blake3:" + hex[1:] + "g"} {
		if _, err := ParseTreeDigest(text); !errors.As(err, new(*BadIDError)) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestContext(t *testing.T) {
	d, r1, r2 := DerivationID{1}, RealizationID{1}, RealizationID{2}
	a, err := NewContext(map[DerivationID][]RealizationID{d: {r2, r1, r2}})
	if err != nil {
		t.Fatal(err)
	}
	b, err := NewContext(map[DerivationID][]RealizationID{d: {r1, r2}})
	if err != nil || !a.Equal(b) || a.Check() != nil {
		t.Errorf("%v and %v differ: %v", a, b, err)
	}
	if NewRealizationID(d, a, TreeDigest{}) != NewRealizationID(d, b, TreeDigest{}) {
		t.Error("the order of a choice changes a realization ID")
	}
	if NewRealizationID(d, nil, TreeDigest{}) != NewRealizationID(d, Context{}, TreeDigest{}) {
		t.Error("no context and the empty one differ")
	}
	for name, bad := range map[string]Context{"empty": {d: nil}, "unsorted": {d: {r2, r1}}, "twice": {d: {r1, r1}}} {
		if err := bad.Check(); !errors.As(err, new(*MalformedError)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := NewContext(map[DerivationID][]RealizationID{d: {}}); err == nil {
		t.Error("a choice of nothing is accepted")
	}
	data, err := json.Marshal(a)
	var back Context
	if err2 := json.Unmarshal(data, &back); err != nil || err2 != nil || !back.Equal(a) {
		t.Errorf("%s reads as %v", data, back)
	}
}

// TestRealizationIDsDiffer shuffles two dependencies and their realizations: every choice is another realization.
func TestRealizationIDsDiffer(t *testing.T) {
	d1, d2, r1, r2 := DerivationID{1}, DerivationID{2}, RealizationID{1}, RealizationID{2}
	contexts := []Context{
		{}, {d1: {r1}}, {d1: {r2}}, {d2: {r1}}, {d1: {r1, r2}}, {d1: {r1}, d2: {r1}}, {d1: {r1}, d2: {r2}}, {d1: {r2}, d2: {r1}},
	}
	seen := map[RealizationID]bool{}
	for _, c := range contexts {
		for _, tree := range []TreeDigest{{}, {1}} {
			for _, d := range []DerivationID{d1, d2} {
				seen[NewRealizationID(d, c, tree)] = true
			}
		}
	}
	if len(seen) != 4*len(contexts) {
		t.Errorf("%d identities of %d realizations", len(seen), 4*len(contexts))
	}
}
