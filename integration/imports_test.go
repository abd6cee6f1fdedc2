package integration

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// allowedImports says which folders of ours a folder may import besides itself; the arrows go one way only. A longer
// prefix overrules a shorter one.
var allowedImports = map[string][]string{
	"policies":          {},
	"hostpkgs":          {},
	"mounts":            {},
	"artifact":          {},
	"seccomp":           {"policies"},
	"jail":              {"policies", "mounts"},
	"jail/container":    {"policies", "mounts", "seccomp", "jail"},
	"jail/reexec":       {"jail"},
	"build":             {"artifact", "hostpkgs", "jail", "mounts", "policies", "profile/links"},
	"profile":           {"artifact"},
	"profile/links":     {},
	"integration":       {},
	"integration/bench": {"artifact"}, // it fills stores
}

// cgo and libcontainer are seen only here.
var mayUseCgo = []string{"seccomp", "jail/container", "jail/reexec", "cmd/hdjail"}

func TestImportDirection(t *testing.T) {
	out, err := exec.Command("go", "list", "-tags", "seccomp osusergo netgo runc_nocriu urfave_cli_no_docs", "-f",
		`{{.ImportPath}} {{len .CgoFiles}} {{join .Imports " "}}`, "hdjail/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		fields := strings.Fields(line)
		folder := strings.TrimPrefix(fields[0], "hdjail/")
		low := strings.HasPrefix(folder, "cmd/") || slices.Contains(mayUseCgo, folder)
		if fields[1] != "0" && !low {
			t.Errorf("%s uses cgo", folder)
		}
		for _, imported := range fields[2:] {
			checkImport(t, folder, imported, low)
		}
	}
}

func checkImport(t *testing.T, folder, imported string, low bool) {
	t.Helper()
	if strings.HasPrefix(imported, "github.com/opencontainers/") && !low {
		t.Errorf("%s imports %s: libcontainer is for jail/container, jail/reexec and cmd/hdjail", folder, imported)
	}
	target, ours := strings.CutPrefix(imported, "hdjail/")
	if !ours || strings.HasPrefix(folder, "cmd/") {
		return
	}
	rule := longestPrefix(folder)
	if rule == "" {
		t.Errorf("%s is in no row of allowedImports", folder)
		return
	}
	if strings.HasPrefix(target, "cmd/") || !within(target, append([]string{rule}, allowedImports[rule]...)) {
		t.Errorf("%s imports %s", folder, target)
	}
}

func longestPrefix(folder string) (rule string) {
	for prefix := range allowedImports {
		if within(folder, []string{prefix}) && len(prefix) > len(rule) {
			rule = prefix
		}
	}
	return rule
}

func within(path string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return path == p || strings.HasPrefix(path, p+"/") })
}
