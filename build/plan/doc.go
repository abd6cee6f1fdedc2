// Package plan turns targets into a Plan: it loads a graph of specs (LoadGraph), and resolves it to derivations (Resolver).
// Nothing of a build is run here, and a Plan never looks at a spec file again.
package plan
