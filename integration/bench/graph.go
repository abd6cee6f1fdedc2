package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// graph is deep layers of wide trivial builds; each build reads the results of two of the layer before.
type graph struct {
	deep, wide int
}

// specs writes the graph as specs into a new directory and returns the paths of the last layer. A different salt makes
// every build of the graph a different one.
func (g graph) specs(dir string, salt string) ([]string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	var last []string
	for layer := range g.deep {
		last = last[:0]
		for column := range g.wide {
			path := filepath.Join(dir, g.name(layer, column)+".yaml")
			if err := os.WriteFile(path, []byte(g.spec(layer, column, salt)), 0o644); err != nil {
				return nil, err
			}
			last = append(last, path)
		}
	}
	return last, nil
}

func (g graph) name(layer, column int) string {
	return fmt.Sprintf("n%d-%d", layer, column%g.wide)
}

// spec uses the shell's own commands only, so the time is that of the jail and of the store.
func (g graph) spec(layer, column int, salt string) string {
	var text strings.Builder
	fmt.Fprintf(&text, "hdjail: 1\nname: %s\nversion: %q\nhost: {packages: [dash]}\n", g.name(layer, column), salt)
	if layer == 0 {
		text.WriteString("script: echo 1 > \"$ARTIFACT/value\"\n")
		return text.String()
	}
	fmt.Fprintf(&text, "dependencies:\n  - {spec: %s.yaml, as: LEFT}\n  - {spec: %s.yaml, as: RIGHT}\n",
		g.name(layer-1, column), g.name(layer-1, column+1))
	text.WriteString("script: |\n  read a < \"$LEFT_DIR/value\"\n  read b < \"$RIGHT_DIR/value\"\n  echo $((a + b)) > \"$ARTIFACT/value\"\n")
	return text.String()
}

// nix is the same graph as a nix expression: a list of the last layer's derivations.
func (g graph) nix(salt string) string {
	return fmt.Sprintf(`let
  build = name: args: derivation ({ inherit name; system = builtins.currentSystem; builder = "/bin/sh"; salt = %q; } // args);
  first = builtins.genList (c: build "n0-${toString c}" { args = [ "-c" "echo 1 > $out" ]; }) %d;
  next = layer: below: builtins.genList (c: build "n${toString layer}-${toString c}" {
    left = builtins.elemAt below c;
    right = builtins.elemAt below (if c + 1 == %[2]d then 0 else c + 1);
    args = [ "-c" "read a < $left; read b < $right; echo $((a + b)) > $out" ];
  }) %[2]d;
in builtins.foldl' (below: layer: next layer below) first (builtins.genList (l: l + 1) %[3]d)
`, salt, g.wide, g.deep-1)
}

// nixEnvironment gives nix a store of its own.
func (b *bench) nixEnvironment() []string {
	var environment []string
	for _, name := range []string{"STORE", "STATE", "LOG", "CONF"} {
		environment = append(environment, fmt.Sprintf("NIX_%s_DIR=%s", name, filepath.Join(b.dir, "nix", strings.ToLower(name))))
	}
	return append(environment, "NIX_REMOTE=", "HOME="+b.dir)
}

// nixBuild builds an expression in nix's sandbox, which shows the shell and its libraries.
func (b *bench) nixBuild(file string) (time.Duration, error) {
	return b.timedIn(b.nixEnvironment(), "nix-build", "--no-out-link", "--max-jobs", strconv.Itoa(runtime.NumCPU()),
		"--option", "sandbox", "true", "--option", "substitute", "false", "--option", "build-users-group", "",
		"--option", "sandbox-paths", "/bin/sh=/bin/dash /lib /lib64 /usr/lib", file)
}

// measureGraph builds a graph anew in each round, then once more when there is nothing to do.
func (b *bench) measureGraph() error {
	g := graph{deep: 10, wide: 30}
	var specs []string
	var expression string
	prepare := func(round int) (err error) {
		salt := fmt.Sprintf("0.%d", round)
		if specs, err = g.specs(filepath.Join(b.dir, "graph"+salt), salt); err != nil {
			return err
		}
		expression = filepath.Join(b.dir, "graph"+salt+".nix")
		return os.WriteFile(expression, []byte(g.nix(salt)), 0o644)
	}
	build := func(int) (time.Duration, error) { return b.jailed(append([]string{"build"}, specs...)...) }
	nix := func(int) (time.Duration, error) { return b.nixBuild(expression) }
	err := b.compare(table{
		title:  fmt.Sprintf("one of %d trivial dependent builds, %d deep and %d wide", g.deep*g.wide, g.deep, g.wide),
		rounds: max(1, b.rounds/3),
		per:    g.deep * g.wide,
		contenders: []contender{
			{name: "hdjail build", asked: target{max: 15 * time.Millisecond}, run: func(round int) (time.Duration, error) {
				if err := prepare(round); err != nil {
					return 0, err
				}
				return build(round)
			}},
			{name: "nix-build, sandbox", needs: "nix-build", run: nix},
		},
	})
	if err != nil {
		return err
	}
	return b.compare(table{
		title:  "the same graph, nothing to do",
		rounds: 2 * b.rounds,
		contenders: []contender{
			{name: "hdjail build", asked: target{max: 40 * time.Millisecond}, run: build},
			{name: "nix-build, sandbox", needs: "nix-build", run: nix},
		},
	})
}

// measureMany plans a large graph of specs that are all built.
func (b *bench) measureMany() error {
	g := graph{deep: 20, wide: b.specs / 20}
	specs, err := g.specs(filepath.Join(b.dir, "many"), "many")
	if err != nil {
		return err
	}
	return b.compare(table{
		title:  fmt.Sprintf("%d specs, nothing to do", g.deep*g.wide),
		rounds: max(1, b.rounds/2),
		contenders: []contender{
			// The round that does not count builds them.
			{name: "hdjail build", asked: target{max: time.Second}, run: func(int) (time.Duration, error) {
				return b.jailed(append([]string{"build"}, specs...)...)
			}},
		},
	})
}
