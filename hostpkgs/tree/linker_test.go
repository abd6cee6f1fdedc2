package tree

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestAddLinkerCache finds a library under a name that is not its soname, in a folder that an included file names.
func TestAddLinkerCache(t *testing.T) {
	found, err := filepath.Glob("/usr/lib*/libc.so.6")
	more, err2 := filepath.Glob("/usr/lib/*/libc.so.6")
	if found = append(found, more...); len(found) == 0 {
		t.Skipf("needs the C library of a 64-bit host: %v, %v", err, err2)
	}
	conf := filepath.Join(t.TempDir(), "conf")
	included := filepath.Join(t.TempDir(), "included")
	for name, text := range map[string]string{conf: "# comment\ninclude ld.so.conf.d/*.conf\n", included: "/opt/link # why\nhwcap 1 nosegneg\n/none\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := Plan{}
	for name, n := range map[string]node{
		"/etc/ld.so.conf": {source: conf}, "/etc/ld.so.conf.d/a.conf": {source: included}, "/etc/ld.so.conf.d/a.other": {source: found[0]},
		"/opt/link": {target: "lib"}, "/opt/lib/libmine-1.so": {source: found[0]}, "/opt/lib/libtext.so": {source: conf},
		"/opt/lib/libdead.so": {target: "nowhere"}, "/opt/lib/libc.so": {target: "libmine-1.so"}, "/elsewhere/libfar.so": {source: found[0]},
		"/lib64": {target: "usr/lib64"}, "/usr/lib64/libc.so.6": {source: found[0]},
	} {
		if err := p.put(name, n); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.AddLinkerCache(); err != nil {
		t.Fatal(err)
	}
	// ldconfig would have made this link.
	if got := p["/opt/lib/libc.so.6"].target; got != "libmine-1.so" {
		t.Errorf("the soname leads to %q", got)
	}
	var got []string
	data := p["/etc/ld.so.cache"].data
	for text := range bytes.SplitSeq(data[48+3*24:], []byte{0}) {
		got = append(got, string(text))
	}
	want := []string{"/opt/link/libc.so.6", "/lib64/libc.so.6", "/opt/link/libc.so", ""}
	if !slices.Equal(got, want) {
		t.Errorf("cache lists %q, want %q", got, want)
	}
}
