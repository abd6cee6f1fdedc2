package policies

// Policy is what a build may do apart from its whitelist. Its digest, with the mode and every permitted degradation, is
// part of a DerivationID.
type Policy struct {
	// Name is that of the shipped policy.
	Name string `json:"name"`
	// Network is "none": an own network namespace with a loopback device only.
	Network string `json:"network"`
	// Never are host paths that stay hidden in mode log too; "~" is the caller's home.
	Never []string `json:"never,omitempty"`
}
