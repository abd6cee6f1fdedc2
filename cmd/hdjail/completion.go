package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// completeVerb is what the shells' scripts call, with the words of the command line so far; the last one is unfinished.
const completeVerb = "__complete"

// scripts ask hdjail itself, so they know every verb and flag of the version that is installed. Files complete as usual.
var scripts = map[string]string{
	"bash": `_hdjail() {
  local IFS=$'\n'
  COMPREPLY=($(hdjail __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _hdjail hdjail`,
	"zsh": `#compdef hdjail
_hdjail() {
  local -a found
  found=("${(@f)$(hdjail __complete "${words[@]:1:$((CURRENT-1))}" 2>/dev/null)}")
  [[ -n $found ]] && compadd -- $found || _files
}
compdef _hdjail hdjail`,
	"fish": `complete -c hdjail -a '(hdjail __complete (commandline -opc)[2..-1] (commandline -ct) 2>/dev/null)'`,
}

func completionCommand(a *app) *cli.Command {
	return &cli.Command{
		Name: "completion", Usage: "print the completion script of a shell", ArgsUsage: "bash|zsh|fish",
		UsageText: "source <(hdjail completion bash)\nhdjail completion fish > ~/.config/fish/completions/hdjail.fish",
		Action: func(c *cli.Context) error {
			script, ok := scripts[c.Args().First()]
			if !ok {
				return usagef("hdjail completion wants the name of a shell", "there are bash, fish and zsh")
			}
			a.out.line("%s", script)
			return nil
		},
	}
}

// complete prints what the last of the words may become, one a line; nothing stands for a file.
func (a *app) complete(program *cli.App, words []string) error {
	if len(words) == 0 {
		words = []string{""}
	}
	l := &commandLine{program: program, commands: program.Commands, words: []string{program.Name}}
	last := words[len(words)-1]
	for rest := words[:len(words)-1]; len(rest) > 0; {
		if findValue(l, rest) {
			break // the value of a flag is unfinished
		}
		used, err := l.take(rest)
		if err != nil {
			return nil // nothing to offer
		}
		rest = rest[used:]
	}
	a.storeRoot = flagValue(l.globals, "store", a.storeRoot)
	var candidates []string
	switch {
	case strings.HasPrefix(last, "-"):
		known := program.Flags
		if l.command != nil {
			known = slices.Concat(l.command.Flags, known)
		}
		candidates = append(flagNames(known), "--help")
	case len(l.commands) > 0:
		candidates = names(l.commands)
		if l.command != nil && l.command.Action != nil {
			candidates = append(candidates, a.argumentsOf(l, last)...)
		}
	case l.command != nil:
		candidates = a.argumentsOf(l, last)
	}
	for _, candidate := range candidates {
		if strings.HasPrefix(candidate, last) {
			a.out.line("%s", candidate)
		}
	}
	return nil
}

// flagValue is the last value of a flag among sorted words, or otherwise.
func flagValue(words []string, name, otherwise string) string {
	for i, word := range words {
		if value, joined := strings.CutPrefix(word, "--"+name+"="); joined {
			otherwise = value
		} else if word == "--"+name && i+1 < len(words) {
			otherwise = words[i+1]
		}
	}
	return otherwise
}

// findValue reports whether the only word left is a flag that wants a value.
func findValue(l *commandLine, rest []string) bool {
	if len(rest) != 1 || !strings.HasPrefix(rest[0], "-") || rest[0] == "--" {
		return false
	}
	_, err := l.flag(rest)
	return err != nil
}

// argumentsOf lists what the arguments of a verb may be: profiles, or spec files and, once some of it is typed, IDs.
func (a *app) argumentsOf(l *commandLine, last string) []string {
	verb := strings.Join(l.words[1:], " ")
	switch {
	case verb == "completion":
		return []string{"bash", "fish", "zsh"}
	case verb == "schema":
		return []string{"spec", "lock"}
	case verb == "explain":
		return codeNames()
	case strings.HasPrefix(verb, "profile ") && len(l.arguments) == 0:
		return a.entries("profiles")
	}
	var list []string
	if slices.Contains([]string{"build", "check", "hash", "fetch", "shell", "profile link", "learn", "unused", "pin", "du", "diff", "lock", "why", "why-rebuild", "graph"}, verb) {
		for _, pattern := range []string{"*.yaml", "*.json", "*/"} {
			found, _ := filepath.Glob(last + pattern)
			list = append(list, found...)
		}
	}
	if last != "" && !strings.Contains(last, "/") && slices.Contains([]string{"build", "check", "shell", "profile link", "log", "show", "audit", "audit diff", "learn",
		"unused", "pin", "du", "diff", "lock verify", "why", "why-rebuild", "graph"}, verb) {
		for _, name := range a.entries("derivations") {
			list = append(list, strings.TrimSuffix(name, ".json"))
		}
	}
	return list
}

// entries lists a directory of the store, without opening the store.
func (a *app) entries(dir string) []string {
	root := a.storeRoot
	if root == "" {
		root = os.Getenv("HDJAIL_STORE")
	}
	if root == "" {
		root = a.defaultStore()
	}
	found, err := os.ReadDir(filepath.Join(a.absolute(root), dir))
	if err != nil {
		return nil
	}
	var list []string
	for _, e := range found {
		list = append(list, e.Name())
	}
	return list
}
