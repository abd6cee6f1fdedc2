package crash

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"hdjail/integration/binary"
)

// hdjail is the binary under test: HDJAIL_BIN, or one built for this run.
var hdjail string

// soak has the tests try everything, which takes many minutes.
var soak = os.Getenv("HDJAIL_SOAK") != ""

func TestMain(m *testing.M) { os.Exit(binary.Main(m, &hdjail)) }

// chance is seeded by HDJAIL_SEED or the clock, and says by what.
func chance(t *testing.T) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("HDJAIL_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("HDJAIL_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// rounds is how often a test tries: many times where everything is tried.
func rounds(few, many int) int {
	if soak {
		return many
	}
	return few
}

// needs ends a test that cannot run here, which where no test may be skipped is a failure.
func needs(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	if os.Getenv("HDJAIL_TEST_NO_SKIP") != "" {
		t.Fatal(err)
	}
	t.Skip(err)
}
