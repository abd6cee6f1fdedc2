// Package spec reads what a person writes: a Spec, in YAML or JSON. Text goes in, named types or an Error with a position
// come out. It reads no file, resolves nothing and knows no store.
package spec
