package leaks

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const (
	prefix = "/hdjail"
	hash1  = "abcdefghijklmnopqrstuvwxyz234567"
	zlib   = prefix + "/store/" + hash1 + "-zlib-1.3"
	other  = prefix + "/store/bbcdefghijklmnopqrstuvwxyz234567-other-1"
)

func testNeedles() *needles {
	return newNeedles(Options{Stores: []string{prefix, "/srv/store"}, BuildDirs: []string{"/build"}})
}

// pieces searches text that comes in pieces of the given size.
func pieces(text string, isText bool, size int) []sighting {
	f := finder{needles: testNeedles(), limit: 1000}
	f.reset()
	f.text = isText
	data := []byte(text)
	have, next := 0, 0
	for last := false; !last; {
		end := min(len(data), have+size)
		last = end == len(data)
		next = f.search(data[:end], next, last)
		keep := max(0, next-lookBack)
		data, have, next = data[keep:], end-keep, next-keep
		f.offset += int64(keep)
	}
	return f.found
}

func TestFindInText(t *testing.T) {
	for text, want := range map[string]string{
		"prefix=/usr/x\n":                            "1:/usr/x",
		"a\nb /opt/y/. c":                            "2:/opt/y",
		"See /usr/share/x.":                          "1:/usr/share/x",
		"/usr/a:/usr/b;'/usr/c'":                     "1:/usr/a 1:/usr/b 1:/usr/c",
		"-L/usr/a -I/usr/b -isystem/usr/c":           "1:/usr/a 1:/usr/b 1:/usr/c",
		"-Wl,-rpath,/usr/a,-rpath=/usr/b":            "1:/usr/a 1:/usr/b",
		"foo-bar/usr/a --x/usr/b L/usr/c":            "",
		"${prefix}/lib $(DESTDIR)/usr a/usr/b":       "",
		"http://a/b/c //usr/a /* x */":               "",
		"file:///usr/a":                              "1:/usr/a",
		"</a> </usr/include/a.h>":                    "1:/a 1:/usr/include/a.h",
		"/usr/lib/*.so /usr/lib/$x /usr/lib/%s":      "1:/usr/lib", // three times
		"/usr/a/../b":                                "1:/usr/a/../b",
		"/usr/gr\u00f6\u00dfe":                       "1:/usr/gr\u00f6\u00dfe",
		"x" + zlib + "/lib/z.a":                      "1:" + zlib + "/lib/z.a", // whatever is before it
		"github.com/hdjail/store/x":                  "",
		"/build/x /tmp/y /home/z":                    "1:/build/x 1:/tmp/y 1:/home/z",
		strings.Repeat("/aaaaaaa", 1000) + " /usr/a": "1:/usr/a",
	} {
		var got []string
		for _, s := range pieces(text, true, 1<<20) {
			got = append(got, fmt.Sprintf("%d:%s", s.line, s.path))
			if at := text[s.offset:]; !strings.HasPrefix(at, s.path) {
				t.Errorf("%q: %s is not at %d", text, s.path, s.offset)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestFindInBinary(t *testing.T) {
	for text, want := range map[string]string{
		"\x00" + zlib + "/lib/libz.so\x00":                zlib,
		"see " + zlib + ". Or":                            zlib,
		"xx" + zlib + "xx":                                zlib + "xx",
		"/srv/store/realizations/" + hash1 + "/out/x":     "/srv/store/realizations/" + hash1,
		prefix + "/store/" + hash1[1:] + "-a":             "",
		prefix + "/store/" + strings.ToUpper(hash1) + "-": "",
		prefix + "/store/" + hash1:                        "",
		"\x00/build/a.c\x00":                              "/build",
		"/build\x00":                                      "/build",
		"\xfa\x41/build/a.c":                              "/build", // a marshalled string of Python, with its length
		"src/build/a.c":                                   "",
		"\x00/builds/a.c":                                 "",
		"\x00/usr/lib/x":                                  "",
	} {
		var got []string
		for _, s := range pieces(text, false, 1<<20) {
			got = append(got, s.path)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestCountsAndLimit(t *testing.T) {
	found := pieces("/usr/a\n/usr/b /usr/a\n\n/usr/a", true, 1<<20)
	want := []sighting{{"/usr/a", 0, 1, 3}, {"/usr/b", 7, 2, 1}}
	if diff := cmp.Diff(want, found, cmp.AllowUnexported(sighting{})); diff != "" {
		t.Error(diff)
	}
	f := finder{needles: testNeedles(), limit: 1, text: true}
	f.search([]byte("/usr/a /usr/b /usr/a /usr/c"), 0, true)
	if len(f.found) != 1 || f.found[0].count != 2 || f.dropped != 2 {
		t.Errorf("found %v, %d not told", f.found, f.dropped)
	}
}

// TestHostileText gives texts that would take a careless search time that grows with the square of their length.
func TestHostileText(t *testing.T) {
	const size = 4 << 20
	for _, unit := range []string{"/a", "/", "/hdjail/store/", "/build", "/hdjail/store/" + hash1[1:], "-L/a", "a/", "/.", "/.."} {
		text := strings.Repeat(unit, size/len(unit))
		for _, isText := range []bool{true, false} {
			start := time.Now()
			pieces(text, isText, block)
			if took := time.Since(start); took > 20*time.Second { // it takes a tenth of a second, and hours if it is wrong
				t.Errorf("%q: %s", unit, took)
			}
		}
	}
}

// FuzzPieces shows that it does not matter how a file is cut into pieces, and that nothing is told that is not there.
func FuzzPieces(f *testing.F) {
	f.Add("a /usr/b\n-L"+zlib+"/lib /build/x", uint16(7), true)
	f.Add("\x00"+zlib+"\x00/build/a.c", uint16(1), false)
	f.Add(strings.Repeat("/x", 3000)+" /usr/b", uint16(100), true)
	f.Fuzz(func(t *testing.T, text string, size uint16, isText bool) {
		whole := pieces(text, isText, len(text)+1)
		parts := pieces(text, isText, int(size)+1)
		if diff := cmp.Diff(whole, parts, cmp.AllowUnexported(sighting{})); diff != "" {
			t.Errorf("pieces of %d: %s", size, diff)
		}
		for _, s := range whole {
			if !strings.HasPrefix(text[s.offset:], s.path) || s.path[0] != '/' || len(s.path) > maxPath+maxEntry || s.count < 1 {
				t.Errorf("%+v", s)
			}
		}
	})
}

func TestShebang(t *testing.T) {
	for text, want := range map[string]string{
		"#!/bin/sh\nx": "/bin/sh", "#! /usr/bin/env python3\n": "/usr/bin/env", "#!/bin/sh\r\n": "/bin/sh", "#!": "",
		"#!perl\n": "", "# /bin/sh": "", "#!/bin/sh": "/bin/sh", "#!/x\x00y": "/x",
		"#!/" + strings.Repeat("x", 1000): "/" + strings.Repeat("x", maxShebang-3),
	} {
		if got, end := shebang([]byte(text)); got != want || !strings.HasSuffix(text[:end], got) {
			t.Errorf("%q: %q", text, got)
		}
	}
}

func TestIsText(t *testing.T) {
	for text, want := range map[string]bool{
		"": false, "a\n": true, "a\x00": false, "gr\xfc\xdfe": true, "\x1b[1mx": true, "\x01\x02\x03": false,
		strings.Repeat("a", 9<<10) + "\x00": true,
	} {
		if got := isText([]byte(text)); got != want {
			t.Errorf("%.20q: %v", text, got)
		}
	}
	if !isText(bytes.Repeat([]byte("x = 1\f\n"), 10)) {
		t.Error("a form feed is no text")
	}
}
