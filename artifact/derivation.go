package artifact

// Derivation is a resolved build: complete, canonical, hashed. Everything that can influence a result is in it, and
// nothing else: no URL, limit, matcher or link rule.
type Derivation struct {
	// Layout is the version of the jail's layout and of this encoding.
	Layout  int    `json:"layout"`
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
	// System is the machine the build runs on, like "x86_64-linux".
	System string `json:"system"`
	// Prefix is the store's prefix, which public paths begin with.
	Prefix string `json:"prefix"`
	// Interpreter is the argument list that Script is appended to, as the path of a file. From layout 2 on its words are
	// templates like the values of Environment.
	Interpreter []string `json:"interpreter"`
	Script      string   `json:"script"`
	// Environment is what the Spec sets, after references were resolved. From layout 2 on the values are templates, in which
	// ${self.out} and the contents of outputs are left, and a dollar sign before { or $ is doubled.
	Environment  map[string]string `json:"environment,omitempty"`
	Sources      []Source          `json:"sources,omitempty"`
	Dependencies []Dependency      `json:"dependencies,omitempty"`
	// HostPackages is the whole closure, sorted by name and architecture.
	HostPackages []HostPackage `json:"host_packages,omitempty"`
	// HostPaths is sorted by path.
	HostPaths []HostPath `json:"host_paths,omitempty"`
	// Promises are sorted; see ComparePromises.
	Promises []Promise `json:"promises,omitempty"`
	// Policy is the digest of the policy with its mode and every permitted degradation, "blake3:" and 64 hex digits.
	Policy string `json:"policy"`
}

// Source is one input of a build. Digest is "sha256:" or "blake3:" and 64 hex digits (a file), "tree:" and 64 hex digits
// (the TreeDigest of a local tree), or "git:" and 40 hex digits (a commit).
type Source struct {
	Digest string `json:"digest"`
	// Target is where it goes, relative to the build directory; clean, without "..", empty for the directory itself.
	Target string `json:"target,omitempty"`
	// Unpack is false for a file that is placed as it is, with Target as its name.
	Unpack bool `json:"unpack"`
}

// Dependency is a derivation whose realization the build sees. Order counts: it is the order of the Spec.
type Dependency struct {
	ID DerivationID `json:"id"`
	// As is the NAME of $NAME_DIR and $NAME_ID; empty for one that only a reference of the Spec leads to.
	As   string `json:"as,omitempty"`
	Many bool   `json:"many,omitempty"`
}

// HostPackage is an installed distribution package, pinned. Digest is the TreeDigest of what it installs.
type HostPackage struct {
	Name         string     `json:"name"`
	Architecture string     `json:"architecture,omitempty"`
	Version      string     `json:"version"`
	Digest       TreeDigest `json:"digest"`
}

// HostPath is a whitelisted path outside the packages. Identity is the TreeDigest of its content in text form, or
// "id:" and what the Spec declares, or "link:" and where a symbolic link leads.
type HostPath struct {
	Path     string `json:"path"`
	Identity string `json:"identity"`
}
