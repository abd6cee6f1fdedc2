package graph

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"hdjail/artifact"
)

// diamond: app depends on left and right, both on base; other is alone.
func diamond() Graph {
	return Graph{
		{ID: "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", Name: "base-1", State: Realized},
		{ID: "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", Name: "left", State: Several, Dependencies: []int{0}},
		{ID: "cccccccccccccccccccccccccccccccc", Name: "right", State: Failed, Dependencies: []int{0, 0}},
		{ID: "dddddddddddddddddddddddddddddddd", Name: `a"p<p`, State: ToBuild, Target: true, Dependencies: []int{1, 2, 0}},
		{ID: "eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee", Name: "other", State: Running, Target: true},
	}
}

func TestPaths(t *testing.T) {
	g := diamond()
	is := func(want ...int) func(int) bool { return func(n int) bool { return slices.Contains(want, n) } }
	for _, test := range []struct {
		from     int
		goal     func(int) bool
		shortest []int
		all      [][]int
	}{
		{3, is(0), []int{3, 0}, [][]int{{3, 1, 0}, {3, 2, 0}, {3, 0}}},
		{3, is(2), []int{3, 2}, [][]int{{3, 2}}},
		{3, is(1, 0), []int{3, 1}, [][]int{{3, 1}, {3, 2, 0}, {3, 0}}},
		{3, is(3), []int{3}, [][]int{{3}}},
		{3, is(4), nil, nil},
		{0, is(3), nil, nil},
	} {
		if got := g.Shortest(test.from, test.goal); !slices.Equal(got, test.shortest) {
			t.Errorf("%d: shortest %v, want %v", test.from, got, test.shortest)
		}
		all, more := g.All(test.from, test.goal, 10)
		if diff := cmp.Diff(test.all, all); diff != "" || more {
			t.Errorf("%d: %v\n%s", test.from, more, diff)
		}
	}
	if all, more := g.All(3, is(0), 2); len(all) != 2 || !more {
		t.Errorf("limited: %v, %v", all, more)
	}
	if _, more := g.All(3, is(0), 3); more {
		t.Error("there are not more than 3")
	}
}

// draw makes a graph of n nodes, each of which may depend on those before it.
func draw(t *rapid.T, n int) Graph {
	g := make(Graph, n)
	share := rapid.IntRange(1, 6).Draw(t, "dependencies")
	for i := range g {
		g[i] = Node{ID: fmt.Sprintf("%032d", i), Name: strings.Repeat("x", rapid.IntRange(1, 60).Draw(t, "name")), State: rapid.SampledFrom(States()).Draw(t, "state")}
		for range rapid.IntRange(0, min(i, share)).Draw(t, "count") {
			g[i].Dependencies = append(g[i].Dependencies, rapid.IntRange(0, i-1).Draw(t, "dependency"))
		}
	}
	return g
}

// TestLayout: no boxes touch, no line passes one, dependencies are to the right, and all of it is in the picture.
func TestLayout(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := draw(t, rapid.SampledFrom([]int{0, 1, 2, 7, 40, 300}).Draw(t, "nodes"))
		l := newLayout(g)
		seen := 0
		for c, column := range l.columns {
			for i, s := range column {
				at := l.spots[s]
				if at.node >= 0 {
					seen++
				}
				if at.column != c || at.y-at.high/2 < -0.01 || at.y+at.high/2 > l.height+0.01 || at.x+l.wide[c] > l.width+0.01 || math.IsNaN(at.y) {
					t.Fatalf("spot %d of %d at %v, %v is outside of %v x %v", i, c, at.x, at.y, l.width, l.height)
				}
				if i > 0 && at.y-l.spots[column[i-1]].y < l.apart(column[i-1], s)-0.01 {
					t.Fatalf("spots %d and %d of %d are too near", i-1, i, c)
				}
			}
		}
		for i := range g {
			for _, dep := range g[i].Dependencies {
				if l.spots[dep].x < l.spots[i].x+l.wide[l.spots[i].column]+columnGap-0.01 {
					t.Fatalf("%d is not to the right of %d", dep, i)
				}
			}
			if text := float64(len([]rune(below(g[i])))) * charWide * 10.5 / 12; text > l.wide[l.spots[i].column]-2*boxPad {
				t.Fatalf("the text of %d does not fit", i)
			}
		}
		for _, e := range l.edges {
			for i := range e[1:] {
				if l.spots[e[i+1]].column != l.spots[e[i]].column+1 {
					t.Fatalf("an edge goes from column %d to %d", l.spots[e[i]].column, l.spots[e[i+1]].column)
				}
			}
		}
		if seen != len(g) {
			t.Fatalf("%d of %d nodes", seen, len(g))
		}
	})
}

// TestDense: more bends than are routed are no reason to fail.
func TestDense(t *testing.T) {
	g := make(Graph, 300)
	for i := range g {
		g[i] = Node{ID: fmt.Sprintf("%032d", i), Name: "n"}
		for j := range i {
			g[i].Dependencies = append(g[i].Dependencies, j)
		}
	}
	var b bytes.Buffer
	if err := g.WriteSVG(&b); err != nil || strings.Count(b.String(), "<path") != 300*299/2 {
		t.Error(err, strings.Count(b.String(), "<path"))
	}
}

// TestOrder: columns are ordered so that fewer lines cross.
func TestOrder(t *testing.T) {
	const n = 8
	var g Graph
	for i := range n {
		g = append(g, Node{ID: fmt.Sprintf("%032d", i), Name: "d"})
	}
	for i := range n {
		g = append(g, Node{ID: fmt.Sprintf("%032d", n+i), Name: "t", Dependencies: []int{n - 1 - i}})
	}
	l := newLayout(g)
	at := make([]int, len(l.spots))
	l.number(at)
	if c := l.crossings(at); c != 0 {
		t.Errorf("%d crossings", c)
	}
}

func TestSVG(t *testing.T) {
	var b bytes.Buffer
	if err := diamond().WriteSVG(&b); err != nil {
		t.Fatal(err)
	}
	decoder := xml.NewDecoder(bytes.NewReader(b.Bytes()))
	counts := map[string]int{}
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if start, ok := token.(xml.StartElement); ok {
			counts[start.Name.Local]++
		}
	}
	if counts["title"] != 5 || counts["path"] != 5 || counts["rect"] != 1+5+5 {
		t.Errorf("%v", counts)
	}
	for _, want := range []string{"failed: 1", "aaaaaaaaaa · realized", "a&#34;p&lt;p"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}

func TestText(t *testing.T) {
	g := diamond()[2:4]
	g[0].Dependencies, g[1].Dependencies = nil, []int{0, 0}
	var dot, mermaid bytes.Buffer
	if err := errors.Join(g.WriteDOT(&dot), g.WriteMermaid(&mermaid)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`  n1 [label="a\"p<p\ndddddddddd · to build", tooltip="dddddddddddddddddddddddddddddddd", fillcolor="#ffffff", color="#6b7280", style="filled,rounded,dashed", penwidth=2.4];`,
		"\n  n1 -> n0;\n  subgraph"} {
		if !strings.Contains(dot.String(), want) {
			t.Errorf("no %q in\n%s", want, dot.String())
		}
	}
	for _, want := range []string{`  n1["a#quot;p#lt;p<br/>dddddddddd · to build"]:::tobuild`, "\n  n1 --> n0\n  subgraph", "classDef severalrealizations fill:"} {
		if !strings.Contains(mermaid.String(), want) {
			t.Errorf("no %q in\n%s", want, mermaid.String())
		}
	}
	text, err := json.Marshal(g)
	want := `[{"id":"cccccccccccccccccccccccccccccccc","name":"right","state":"failed","dependencies":[]},` +
		`{"id":"dddddddddddddddddddddddddddddddd","name":"a\"p\u003cp","state":"to build","target":true,"dependencies":["cccccccccccccccccccccccccccccccc"]}]`
	if err != nil || string(text) != want {
		t.Errorf("%s, %v", text, err)
	}
}

// lookup is a store of derivations.
type lookup map[artifact.DerivationID]*artifact.Derivation

func (l lookup) Derivation(id artifact.DerivationID) (*artifact.Derivation, error) {
	if d := l[id]; d != nil {
		return d, nil
	}
	return nil, fmt.Errorf("no derivation %s", id)
}

func TestClosure(t *testing.T) {
	id := func(n byte) artifact.DerivationID { return artifact.DerivationID{n} }
	on := func(ids ...byte) (list []artifact.Dependency) {
		for _, n := range ids {
			list = append(list, artifact.Dependency{ID: id(n)})
		}
		return list
	}
	l := lookup{id(1): {Name: "a", Version: "1", Dependencies: on(2, 3)}, id(2): {Name: "b", Dependencies: on(3)}, id(3): {Name: "c"}}
	g, err := Closure(l, []artifact.DerivationID{id(1), id(2), id(1)})
	want := Graph{{ID: id(1).String(), Name: "a-1", Target: true, Dependencies: []int{1, 2}},
		{ID: id(2).String(), Name: "b", Target: true, Dependencies: []int{2}}, {ID: id(3).String(), Name: "c"}}
	if diff := cmp.Diff(want, g); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	if _, err := Closure(l, []artifact.DerivationID{id(4)}); err == nil {
		t.Error("a derivation that is not there has a closure")
	}
}
