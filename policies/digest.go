package policies

import (
	"encoding/hex"
	"encoding/json"
	"slices"

	"github.com/zeebo/blake3"
)

// digestDomain separates policy digests from every other use of BLAKE3.
const digestDomain = "hdjail 1 policy"

// Digest is the identity of the policy as enforced in a mode with the named degradations, in any order, permitted: "blake3:"
// and 64 hexadecimal digits. Modes hide and fail share one.
func (p Policy) Digest(mode Mode, degradations []string) string {
	degradations = append([]string{}, degradations...) // nil and empty are one
	slices.Sort(degradations)
	text, _ := json.Marshal(struct { // strings only, so there is no error
		Policy   Policy   `json:"policy"`
		Mode     Mode     `json:"mode"`
		Degraded []string `json:"degraded"`
	}{p, mode.Identity(), slices.Compact(degradations)})
	h := blake3.NewDeriveKey(digestDomain)
	h.Write(text)
	return "blake3:" + hex.EncodeToString(h.Sum(nil))
}
