package metrics

import (
	"strings"
	"testing"
)

func TestWrite(t *testing.T) {
	var s Set
	c := s.Counter("x_total", "What was counted.")
	c.Add(1, Labels("kind", "b"))
	c.Add(2.5, Labels("kind", "a\"\n"))
	c.Add(1, Labels("kind", "b"))
	s.Gauge("a_size", "How large it is.", func() float64 { return 1 << 40 })
	(*Counter)(nil).Add(1, "")
	var b strings.Builder
	if err := s.Write(&b); err != nil {
		t.Fatal(err)
	}
	want := `# HELP a_size How large it is.
# TYPE a_size gauge
a_size 1.099511627776e+12
# HELP x_total What was counted.
# TYPE x_total counter
x_total{kind="a\"\n"} 2.5
x_total{kind="b"} 2
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}
