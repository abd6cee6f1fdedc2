// Package mounts plans the mount table of a jail: ordered, validated and printable. It is pure: it opens nothing and
// makes no system call. Whoever applies a table (jail/container) decides nothing about it.
package mounts
