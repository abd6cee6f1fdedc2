package policies

import "strings"

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

// NeverPaths is Never with home in place of "~". Without a home, an empty text, what lies there is left out.
func (p Policy) NeverPaths(home string) (list []string) {
	for _, never := range p.Never {
		rest, inHome := strings.CutPrefix(never, "~")
		if inHome && home == "" {
			continue
		}
		if inHome {
			never = home + rest
		}
		list = append(list, never)
	}
	return list
}
