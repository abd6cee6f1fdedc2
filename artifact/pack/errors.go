package pack

import (
	"fmt"
	"strings"

	"hdjail/artifact"
)

// RefusedError reports an archive that breaks a rule. Kind is the rule: "archive" (no archive, damaged, or cut off), "name"
// (a member that does not belong in one), "order" (unsorted, or twice), "type" (a device, a hard link, a sparse file, ...),
// "mode" (owner, time or set-id bits), "json" (of a member), "object" (a derivation or context that cannot
// be), "link" (a symbolic link out of its artifact) or "limit".
// Member is empty for the archive itself.
type RefusedError struct{ Member, Kind, Detail string }

// maxShown bounds the name of a member in a message.
const maxShown = 250

// Error implements error.
func (e *RefusedError) Error() string {
	if e.Member == "" {
		return fmt.Sprintf("refuse archive: %s (rule %q)", e.Detail, e.Kind)
	}
	name := e.Member
	if len(name) > maxShown {
		name = name[:maxShown] + "..."
	}
	return fmt.Sprintf("refuse archive: member %q: %s (rule %q)", name, e.Detail, e.Kind)
}

// FormatError reports an archive of a newer version.
type FormatError struct{ Found, Supported int }

// Error implements error.
func (e *FormatError) Error() string {
	return fmt.Sprintf("read archive: its format is %d, and this program knows formats up to %d", e.Found, e.Supported)
}

// PrefixError reports two things that cannot be in one store, because their prefixes differ. Of and And name them.
type PrefixError struct{ Of, Found, And, Want string }

// Error implements error.
func (e *PrefixError) Error() string {
	return fmt.Sprintf("the prefix of %s is %q, and that of %s %q", e.Of, e.Found, e.And, e.Want)
}

// DigestError reports an object that is not what it claims to be. What is "derivation", "tree", "realization" or "source".
type DigestError struct{ What, Name, Want, Found string }

// Error implements error.
func (e *DigestError) Error() string {
	return fmt.Sprintf("%s %s: its digest is %s, not %s", e.What, e.Name, e.Found, e.Want)
}

// MissingError reports a realization or derivation that an archive leaves out and the store lacks. What is "realization"
// or "derivation"; Name is for people, and may be empty.
type MissingError struct{ What, ID, Name string }

// Error implements error.
func (e *MissingError) Error() string {
	return strings.TrimSuffix(fmt.Sprintf("the archive leaves out %s %s of %s", e.What, e.ID, e.Name), " of ") + ", and the store does not have it"
}

// InconsistentError reports a realization whose closure uses one derivation in two ways. Through are the realizations that
// name them directly.
type InconsistentError struct {
	Root, Derivation      string
	First, FirstThrough   string
	Second, SecondThrough string
}

// Error implements error.
func (e *InconsistentError) Error() string {
	return fmt.Sprintf("realization %s is inconsistent: of %s it uses %s through %s and %s through %s",
		e.Root, e.Derivation, e.First, e.FirstThrough, e.Second, e.SecondThrough)
}

// choice is a set of realizations, for people.
func choice(ids []artifact.RealizationID) string { return strings.Join(texts(ids), " and ") }
