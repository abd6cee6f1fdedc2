package leaks

import (
	"errors"
	"os"
	"strings"
	"testing"
)

func TestIdentify(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(self)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if b, err := Identify(f); err != nil || !strings.HasSuffix(b.System, "-linux") || b.Soname != "" {
		t.Errorf("%+v, %v", b, err)
	}
	for _, text := range []string{"", "#!/bin/sh\n", "\x7fELF", "\x7fELF\x02\x01\x01" + strings.Repeat("\xff", 100)} {
		if b, err := Identify(strings.NewReader(text)); err == nil {
			t.Errorf("%q is %+v", text, b)
		}
	}
	if _, err := Identify(strings.NewReader("text that is long enough for a header, and is none of an ELF file")); !errors.Is(err, errNotELF) {
		t.Errorf("text: %v", err)
	}
}
