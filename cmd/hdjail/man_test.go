package main

import "testing"

func TestRoffTakesNothingForAMacro(t *testing.T) {
	for text, want := range map[string]string{
		"plain words": "plain words\n",
		".TH of ours": "\\&.TH of ours\n",
		"'quoted'":    "\\&'quoted'\n",
		`C:\n --flag`: `C:\en \-\-flag` + "\n",
		"a `literal`": "a literal\n",
		"--dots in.":  `\-\-dots in.` + "\n",
	} {
		page := &roff{}
		if page.line(text); page.text.String() != want {
			t.Errorf("%q became %q, want %q", text, page.text.String(), want)
		}
	}
}

func TestRoffShowsIndentedLinesAsExamples(t *testing.T) {
	page := &roff{}
	page.section("EMPTY", " \n")
	page.section("TEXT", "first\n\n  an example\n  goes on\nlast")
	want := ".SH \"TEXT\"\nfirst\n.PP\n.EX\n  an example\n  goes on\n.EE\nlast\n"
	if page.text.String() != want {
		t.Errorf("got\n%s\nwant\n%s", page.text.String(), want)
	}
}
