// Package lockfile reads and writes lock files, and holds plans to them: what specs were resolved to, with the host packages that
// were pinned then, and which realizations were chosen. It neither resolves nor builds.
package lockfile
