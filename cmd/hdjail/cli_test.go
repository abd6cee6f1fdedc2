package main

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

func testApp() (*app, *bytes.Buffer, *bytes.Buffer) {
	data, people := &bytes.Buffer{}, &bytes.Buffer{}
	return &app{out: newOut(data, people, false), dir: "/nowhere", storeRoot: "/nowhere"}, data, people
}

func TestArrange(t *testing.T) {
	for _, test := range []struct{ in, want, help string }{
		{in: "", want: ""},
		{in: "build", want: "build"},
		{in: "build a.yaml -j4 --json", want: "build -j 4 --json -- a.yaml"},
		{in: "build a.yaml -j 4 b.yaml", want: "build -j 4 -- a.yaml b.yaml"},
		{in: "build a.yaml --jobs=4", want: "build --jobs=4 -- a.yaml"},
		{in: "build a.yaml --store /s --color=never", want: "--store /s --color=never build -- a.yaml"},
		{in: "--store /s build", want: "--store /s build"},
		{in: "build -- --json -j", want: "build -- --json -j"},
		{in: "--version", want: "version"},
		{in: "--store /s --version --json", want: "--store /s version --json"},
		{in: "build -", want: "build -- -"},
		{in: "profile link p a.yaml --set", want: "profile link --set -- p a.yaml"},
		{in: "profile --help", want: "profile --help"},
		{in: "build -h", want: "build --help"},
		{in: "run --rw . make -j4 --json", want: "run --rw . -- make -j4 --json"},
		{in: "run make --store /s", want: "run -- make --store /s"},
		{in: "shell a.yaml -- make -k", want: "shell -- a.yaml -- make -k"},
		{in: "audit", want: "audit"},
		{in: "audit mf2x --json", want: "audit --json -- mf2x"},
		{in: "audit -", want: "audit -- -"},
		{in: "audit diff a b --json", want: "audit diff --json -- a b"},
		{in: "audit --json diff a b", want: "audit diff --json -- a b"},
		{in: "buidl", help: "did you mean build?"},
		{in: "frobnicate", help: "hdjail --help lists the verbs"},
		{in: "build --keep-fialed", help: "did you mean --keep-failed?"},
		{in: "build --stroe x", help: "did you mean --store?"},
		{in: "--stroe x", help: "did you mean --store?"},
		{in: "build -z", help: "--help lists the flags"},
		{in: "build --jobs", help: ""},
		{in: "profile", help: "there are link, list, diff, rollback, switch, remove"},
		{in: "profile lsit", help: "did you mean list?"},
	} {
		a, _, _ := testApp()
		got, err := arrange(a.cli(), append([]string{"hdjail"}, strings.Fields(test.in)...))
		var usage *usageError
		if errors.As(err, &usage) {
			if usage.Help != test.help || test.want != "" {
				t.Errorf("%q: error %q, help %q; want %q, help %q", test.in, err, usage.Help, test.want, test.help)
			}
			continue
		}
		if joined := strings.Join(got[min(1, len(got)):], " "); err != nil || joined != test.want {
			t.Errorf("%q: %q, %v; want %q", test.in, joined, err, test.want)
		}
	}
}

// TestHelp: every verb says what it is for and begins with an example of itself.
func TestHelp(t *testing.T) {
	var check func(prefix string, commands []*cli.Command)
	check = func(prefix string, commands []*cli.Command) {
		for _, c := range commands {
			a, data, _ := testApp()
			words := append(strings.Fields(prefix+c.Name), "--help")
			if err := a.run(t.Context(), append([]string{"hdjail"}, words...)); err != nil {
				t.Errorf("%v: %v", words, err)
			}
			text := data.String()
			if c.Usage == "" || !strings.Contains(text, "Examples:\n") || !strings.Contains(text, "hdjail "+prefix+c.Name) {
				t.Errorf("%v:\n%s", words, text)
			}
			check(prefix+c.Name+" ", c.Subcommands)
		}
	}
	a, _, _ := testApp()
	check("", a.cli().Commands)
}

func TestComplete(t *testing.T) {
	for words, want := range map[string][]string{
		"":                   nil, // below
		"pro":                {"profile"},
		"audit d":            {"diff"},
		"audit --ver":        {"--verdict"},
		"profile ro":         {"rollback"},
		"build --keep-f":     {"--keep-failed"},
		"build --st":         {"--store", "--strict"},
		"completion ":        {"bash", "fish", "zsh"},
		"explain HJ001":      {"HJ0010", "HJ0011", "HJ0012", "HJ0013", "HJ0014"},
		"build --mode ":      {},
		"build --jobs 4 --j": {"--jobs", "--json"},
		"nosuch ":            {},
		"profile nosuch x":   {},
	} {
		a, data, _ := testApp()
		if err := a.run(t.Context(), append([]string{"hdjail", completeVerb}, strings.Split(words, " ")...)); err != nil {
			t.Fatal(err)
		}
		got := strings.Fields(data.String())
		if words == "" {
			want = names(a.cli().Commands)
		}
		if slices.Sort(want); !slices.Equal(sorted(got), want) {
			t.Errorf("%q: %q; want %q", words, got, want)
		}
	}
}

func sorted(list []string) []string {
	slices.Sort(list)
	return list
}
