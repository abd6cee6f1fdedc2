// Package graph has graphs of derivations: which way leads from one to another, and pictures of them. It is pure: what the nodes
// are, and how far their builds are, comes in; text goes out.
package graph
