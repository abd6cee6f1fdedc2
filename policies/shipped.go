package policies

import (
	"embed"
	"fmt"
	"io/fs"
	"strings"

	"github.com/goccy/go-yaml"
)

//go:embed shipped/*.yaml
var shippedFiles embed.FS

// UnknownPolicyError reports a name that no shipped policy has.
type UnknownPolicyError struct {
	Name string
	// Known are the names that there are, sorted.
	Known []string
}

// Error implements error: one line.
func (e *UnknownPolicyError) Error() string {
	return fmt.Sprintf("unknown policy %q: want %s", e.Name, strings.Join(e.Known, ", "))
}

// Shipped returns a policy that comes with hdjail; *UnknownPolicyError when there is none of this name.
func Shipped(name string) (Policy, error) {
	text, err := shippedFiles.ReadFile("shipped/" + name + ".yaml")
	if err != nil {
		return Policy{}, &UnknownPolicyError{Name: name, Known: ShippedNames()}
	}
	var p Policy
	if err := yaml.UnmarshalWithOptions(text, &p, yaml.Strict()); err != nil {
		return Policy{}, fmt.Errorf("read policy %q: %w", name, err)
	}
	p.Name = name
	return p, nil
}

// ShippedNames lists the policies that come with hdjail, sorted.
func ShippedNames() []string {
	files, _ := fs.Glob(shippedFiles, "shipped/*.yaml") // the pattern is well formed
	names := make([]string, len(files))
	for i, file := range files {
		names[i] = strings.TrimSuffix(strings.TrimPrefix(file, "shipped/"), ".yaml")
	}
	return names
}
