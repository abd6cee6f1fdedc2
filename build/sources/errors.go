package sources

import (
	"fmt"
	"strings"
)

// BadDigestError reports text that is not the digest of a source.
type BadDigestError struct{ Text string }

// Error implements error, in one line.
func (e *BadDigestError) Error() string { return fmt.Sprintf("malformed source digest %q", e.Text) }

// DigestError reports content that is not what its digest promises. Nothing of it was kept or placed. URL is where it
// came from, a path for content of the store.
type DigestError struct{ Want, Got, URL string }

// Error implements error, in one line.
func (e *DigestError) Error() string {
	return fmt.Sprintf("verify %q: digest is %s, not %s", e.URL, e.Got, e.Want)
}

// MissingError reports a source that the store lacks. Offline tells that it was not looked for elsewhere because the
// network is off; URLs are then the places that were left out.
type MissingError struct {
	Digest  string
	URLs    []string
	Offline bool
}

// Error implements error, in one line.
func (e *MissingError) Error() string {
	if !e.Offline {
		return fmt.Sprintf("find source %q: not in the store", e.Digest)
	}
	return fmt.Sprintf("find source %q: not in the store, and offline (%s)", e.Digest, strings.Join(e.URLs, " "))
}

// Attempt is one place that was asked for a source, and what it answered.
type Attempt struct {
	URL string
	Err error
}

// FetchError reports that no place had a source: a line for each that was asked, in order. It unwraps to the errors of
// all of them, so errors.As finds a *DigestError among them.
type FetchError struct {
	Digest   string
	Attempts []Attempt
}

// Error implements error, in one line.
func (e *FetchError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "fetch %q: no place has it", e.Digest)
	for _, a := range e.Attempts {
		fmt.Fprintf(&b, "\n  %s: %v", a.URL, strings.ReplaceAll(a.Err.Error(), "\n", "; "))
	}
	return b.String()
}

// Unwrap returns the errors of all attempts.
func (e *FetchError) Unwrap() []error {
	errs := make([]error, len(e.Attempts))
	for i, a := range e.Attempts {
		errs[i] = a.Err
	}
	return errs
}

// ToolError reports a program of the host that is needed and not there. Fix is what to do about it, one line.
type ToolError struct{ Tool, Fix string }

// Error implements error, in one line.
func (e *ToolError) Error() string {
	return fmt.Sprintf("find program %q: not installed (%s)", e.Tool, e.Fix)
}
