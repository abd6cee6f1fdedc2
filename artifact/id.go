package artifact

import (
	"encoding/base32"
	"encoding/hex"
	"fmt"
	"strings"
)

// DerivationID identifies a resolved build: the first 160 bits of the BLAKE3 of its canonical encoding. Its text form is
// 32 characters of lower-case RFC 4648 base32. The zero value identifies nothing.
type DerivationID [20]byte

// RealizationID identifies one result of a derivation in one context. Form and zero value are those of DerivationID.
type RealizationID [20]byte

// TreeDigest is the BLAKE3-256 of a tree encoding; its text form is "blake3:" and 64 hexadecimal digits.
type TreeDigest [32]byte

const (
	idAlphabet   = "abcdefghijklmnopqrstuvwxyz234567"
	digestPrefix = "blake3:"
)

// IDLength is the number of characters in the text form of a DerivationID or RealizationID.
const IDLength = 32

var idEncoding = base32.NewEncoding(idAlphabet).WithPadding(base32.NoPadding)

// BadIDError reports text that is not the form of an identity. Kind is "derivation ID", "realization ID" or "tree digest".
type BadIDError struct{ Kind, Text string }

// Error implements error.
func (e *BadIDError) Error() string { return fmt.Sprintf("malformed %s %q", e.Kind, e.Text) }

func parseID(kind, text string) (id [20]byte, err error) {
	if len(text) != IDLength || strings.Trim(text, idAlphabet) != "" { // the decoder skips line ends
		return id, &BadIDError{kind, text}
	}
	if _, err := idEncoding.Decode(id[:], []byte(text)); err != nil {
		return [20]byte{}, &BadIDError{kind, text}
	}
	return id, nil
}

// ParseDerivationID reads the text form; any other text gives *BadIDError.
func ParseDerivationID(text string) (DerivationID, error) {
	id, err := parseID("derivation ID", text)
	return DerivationID(id), err
}

// ParseRealizationID reads the text form; any other text gives *BadIDError.
func ParseRealizationID(text string) (RealizationID, error) {
	id, err := parseID("realization ID", text)
	return RealizationID(id), err
}

// ParseTreeDigest reads "blake3:" and 64 lower-case hexadecimal digits; any other text gives *BadIDError.
func ParseTreeDigest(text string) (TreeDigest, error) {
	var d TreeDigest
	digits, ok := strings.CutPrefix(text, digestPrefix)
	if !ok || len(digits) != 2*len(d) || strings.ToLower(digits) != digits {
		return d, &BadIDError{"tree digest", text}
	}
	if _, err := hex.Decode(d[:], []byte(digits)); err != nil {
		return TreeDigest{}, &BadIDError{"tree digest", text}
	}
	return d, nil
}

// String returns the text form, 32 characters.
func (id DerivationID) String() string { return idEncoding.EncodeToString(id[:]) }

// String returns the text form, 32 characters.
func (id RealizationID) String() string { return idEncoding.EncodeToString(id[:]) }

// String returns the text form, "blake3:" and 64 hexadecimal digits.
func (d TreeDigest) String() string { return digestPrefix + hex.EncodeToString(d[:]) }

// IsZero reports whether id identifies nothing.
func (id DerivationID) IsZero() bool { return id == DerivationID{} }

// IsZero reports whether id identifies nothing.
func (id RealizationID) IsZero() bool { return id == RealizationID{} }

// MarshalText implements encoding.TextMarshaler.
func (id DerivationID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// MarshalText implements encoding.TextMarshaler.
func (id RealizationID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// MarshalText implements encoding.TextMarshaler.
func (d TreeDigest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler; see ParseDerivationID.
func (id *DerivationID) UnmarshalText(text []byte) (err error) {
	*id, err = ParseDerivationID(string(text))
	return err
}

// UnmarshalText implements encoding.TextUnmarshaler; see ParseRealizationID.
func (id *RealizationID) UnmarshalText(text []byte) (err error) {
	*id, err = ParseRealizationID(string(text))
	return err
}

// UnmarshalText implements encoding.TextUnmarshaler; see ParseTreeDigest.
func (d *TreeDigest) UnmarshalText(text []byte) (err error) {
	*d, err = ParseTreeDigest(string(text))
	return err
}
