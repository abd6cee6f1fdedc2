package policies

import "fmt"

// Mode says how a jail treats paths outside the whitelist.
type Mode string

const (
	// ModeOff contains no paths and logs nothing; the host is visible as it is.
	ModeOff Mode = "off"
	// ModeLog shows the host read-only, less a short list of secrets, and records accesses outside the whitelist.
	ModeLog Mode = "log"
	// ModeHide makes what is not whitelisted not exist (ENOENT).
	ModeHide Mode = "hide"
	// ModeFail is ModeHide, and one access that hiding changed fails the build at its end.
	ModeFail Mode = "fail"
)

// ParseMode reads the text form of a Mode. The empty string is ModeHide, the default of a Spec.
func ParseMode(s string) (Mode, error) {
	switch m := Mode(s); m {
	case "":
		return ModeHide, nil
	case ModeOff, ModeLog, ModeHide, ModeFail:
		return m, nil
	}
	return "", fmt.Errorf("unknown mode %q: want off, log, hide or fail", s)
}

// Contains reports whether the mode hides what is outside the whitelist.
func (m Mode) Contains() bool { return m == ModeHide || m == ModeFail }

// Filtered reports whether system call filters are loaded.
func (m Mode) Filtered() bool { return m != ModeOff }

// Identity is the mode as it enters a policy digest: hide and fail share one, because they show a build the same.
func (m Mode) Identity() Mode {
	if m == ModeFail {
		return ModeHide
	}
	return m
}
