package policies

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestShipped(t *testing.T) {
	if got := ShippedNames(); !slices.Equal(got, []string{"default"}) {
		t.Errorf("shipped %v", got)
	}
	p, err := Shipped("default")
	if err != nil {
		t.Fatal(err)
	}
	if p.Name != "default" || p.Network != "none" {
		t.Errorf("default policy %+v", p)
	}
	for _, never := range []string{"~/.ssh", "~/.gnupg", "/run", "/etc/shadow", "/etc/munge"} {
		if !slices.Contains(p.Never, never) {
			t.Errorf("%s may be shown", never)
		}
	}
	for _, never := range p.Never {
		if !strings.HasPrefix(never, "/") && !strings.HasPrefix(never, "~/") {
			t.Errorf("never %q is neither absolute nor in the home", never)
		}
	}
	for _, name := range []string{"", "none", "../shipped/default", "*"} {
		var unknown *UnknownPolicyError
		if _, err := Shipped(name); !errors.As(err, &unknown) || unknown.Name != name {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// TestDigest: hide and fail are one, everything else is another policy. The first value pins the identity of the policy
// that is shipped: whoever changes it gives every derivation a new ID.
func TestDigest(t *testing.T) {
	p, err := Shipped("default")
	if err != nil {
		t.Fatal(err)
	}
	const want = "blake3:360c176b100b4a2048b51e9774c02e80dce5f01db0cdbc657fc3586b68476416"
	hide := p.Digest(ModeHide, nil)
	if hide != want {
		t.Errorf("digest of the default policy %s, want %s", hide, want)
	}
	if p.Digest(ModeFail, nil) != hide || p.Digest(ModeHide, []string{}) != hide {
		t.Error("fail is another policy than hide")
	}
	if p.Digest(ModeHide, []string{"netns", "proc"}) != p.Digest(ModeHide, []string{"proc", "netns", "proc"}) {
		t.Error("the order of degradations counts")
	}
	narrower := p
	narrower.Never = append(slices.Clone(p.Never), "/srv")
	seen := map[string]string{hide: "hide"}
	for what, digest := range map[string]string{"log": p.Digest(ModeLog, nil), "off": p.Digest(ModeOff, nil),
		"degraded": p.Digest(ModeHide, []string{"netns"}), "otherwise": p.Digest(ModeHide, []string{"userns"}), "never": narrower.Digest(ModeHide, nil)} {
		if other, known := seen[digest]; known {
			t.Errorf("%s and %s have one digest", what, other)
		}
		seen[digest] = what
	}
}
