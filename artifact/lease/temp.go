package lease

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"

	"github.com/zeebo/blake3"
)

// tempParts is how many parts, separated by dots, a temporary name has: 128 random bits, then the fields of the holder,
// its host and boot as hashes.
const tempParts = 6

// TempName returns a new name for a temporary file or directory, that nobody can guess and that tells its holder: there is
// no moment in which it has none.
func (h Holder) TempName() string {
	var random [16]byte
	rand.Read(random[:]) // never fails
	return strings.Join([]string{hex.EncodeToString(random[:]), short(h.Host), short(h.Boot),
		strconv.FormatUint(h.Namespace, 36), strconv.Itoa(h.PID), strconv.FormatUint(h.Start, 36)}, ".")
}

// IsTempName reports whether TempName may have made the name.
func IsTempName(name string) bool { return strings.Count(name, ".") == tempParts-1 }

// Abandoned reports whether the holder of a temporary name is known to be gone. What another machine holds never is.
func (h Holder) Abandoned(name string) bool { return h.SeesTemp(name) == Gone }

// SeesTemp tells whether the holder of a temporary name lives, as far as the process h can know. A name that is none, or
// malformed, is taken for that of a process which lives.
func (h Holder) SeesTemp(name string) Life {
	part := strings.Split(name, ".")
	if len(part) != tempParts {
		return Alive
	}
	namespace, err1 := strconv.ParseUint(part[3], 36, 64)
	pid, err2 := strconv.Atoi(part[4])
	start, err3 := strconv.ParseUint(part[5], 36, 64)
	switch {
	case errors.Join(err1, err2, err3) != nil:
		return Alive
	case part[1] != short(h.Host):
		return Unknown
	case part[2] != short(h.Boot):
		return Gone
	}
	return h.Sees(Holder{Host: h.Host, Boot: h.Boot, Namespace: namespace, PID: pid, Start: start})
}

// ThisBoot reports whether the temporary name was made since this machine started.
func (h Holder) ThisBoot(name string) bool {
	part := strings.Split(name, ".")
	return len(part) == tempParts && part[1] == short(h.Host) && part[2] == short(h.Boot)
}

func short(s string) string {
	sum := blake3.Sum256([]byte(s))
	return strings.ToLower(base32.StdEncoding.EncodeToString(sum[:5]))
}
