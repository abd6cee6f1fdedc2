package graph

import (
	"bufio"
	"fmt"
	"html"
	"io"
	"strings"
)

// colors are the fill and the border of each state; dashes tell apart what is not there yet, for who sees no colours.
var colors = map[State]struct{ fill, border, dash string }{
	Realized: {"#d9efdf", "#2c7a4b", ""},
	Several:  {"#fdeec6", "#9a6b00", ""},
	ToBuild:  {"#ffffff", "#6b7280", "5 3"},
	Running:  {"#d8e6fb", "#1d5fb4", "2 2"},
	Failed:   {"#fbdcd8", "#b3261e", ""},
	"":       {"#f3f4f6", "#6b7280", ""},
}

// Sizes around the drawing, in pixels.
const (
	margin     = 20.0
	legendHigh = 44.0
)

// WriteSVG draws a graph: what was asked for at the left, with a bold border, what it depends on to the right of it. The picture
// loads nothing.
func (g Graph) WriteSVG(w io.Writer) error {
	l := newLayout(g)
	legend, legendWide := g.legend()
	width, height := max(l.width, legendWide)+2*margin, l.height+2*margin+legendHigh
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, `<svg xmlns="http://www.w3.org/2000/svg" width="%.0f" height="%.0f" viewBox="0 0 %.0f %.0f" font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="12">`+"\n",
		width, height, width, height)
	fmt.Fprintf(b, `<rect width="100%%" height="100%%" fill="#ffffff"/>`+"\n"+`<g transform="translate(%.0f %.0f)">%s</g>`+"\n", margin, margin, legend)
	fmt.Fprintf(b, `<g transform="translate(%.0f %.0f)">`+"\n", margin, margin+legendHigh)
	fmt.Fprint(b, `<g fill="none" stroke="#8b93a1" stroke-width="1.2">`+"\n")
	for _, e := range l.edges {
		fmt.Fprintf(b, `<path d="%s"/>`+"\n", l.curve(e))
	}
	fmt.Fprint(b, "</g>\n")
	for i := range g {
		s := l.spots[i]
		box(b, g[i], s.x, s.y, l.wide[s.column])
	}
	fmt.Fprint(b, "</g>\n</svg>\n")
	return b.Flush()
}

// curve is the path of an edge: level where it leaves and reaches boxes, straight through the columns that it passes, and ending in
// a dot, which is easier to find among many than an arrow.
func (l *layout) curve(edge []int) string {
	var b strings.Builder
	from := l.spots[edge[0]]
	x, y := from.x+l.wide[from.column], from.y
	fmt.Fprintf(&b, "M%.1f %.1f", x, y)
	for _, s := range edge[1:] {
		to := l.spots[s]
		middle := (x + to.x) / 2
		fmt.Fprintf(&b, " C%.1f %.1f %.1f %.1f %.1f %.1f", middle, y, middle, to.y, to.x, to.y)
		x, y = to.x, to.y
		if to.node < 0 {
			x += l.wide[to.column]
			fmt.Fprintf(&b, " H%.1f", x)
		}
	}
	fmt.Fprintf(&b, " m-5 -3.5 l5 3.5 l-5 3.5")
	return b.String()
}

func box(w io.Writer, n Node, x, y, wide float64) {
	c, strong := colors[n.State], 1.2
	if n.Target {
		strong = 2.4
	}
	dash := ""
	if c.dash != "" {
		dash = fmt.Sprintf(` stroke-dasharray="%s"`, c.dash)
	}
	fmt.Fprintf(w, `<g><title>%s %s</title><rect x="%.1f" y="%.1f" width="%.1f" height="%.0f" rx="5" fill="%s" stroke="%s" stroke-width="%.1f"%s/>`,
		text(n.Name), text(n.ID), x, y-boxHigh/2, wide, boxHigh, c.fill, c.border, strong, dash)
	fmt.Fprintf(w, `<text x="%.1f" y="%.1f" fill="#111827">%s</text>`, x+boxPad, y-3, text(label(n.Name)))
	fmt.Fprintf(w, `<text x="%.1f" y="%.1f" fill="#4b5563" font-size="10.5">%s</text></g>`+"\n", x+boxPad, y+12, text(below(n)))
}

// below is the second line of a box.
func below(n Node) string {
	id := n.ID[:min(len(n.ID), idShown)]
	if n.State == "" {
		return id
	}
	return id + " · " + string(n.State)
}

// legend explains the states, with how many nodes have each.
func (g Graph) legend() (svg string, wide float64) {
	var b strings.Builder
	for _, s := range States() {
		name := fmt.Sprintf("%s: %d", s, g.count(s))
		c := colors[s]
		dash := ""
		if c.dash != "" {
			dash = fmt.Sprintf(` stroke-dasharray="%s"`, c.dash)
		}
		fmt.Fprintf(&b, `<rect x="%.1f" y="0" width="22" height="14" rx="3" fill="%s" stroke="%s" stroke-width="1.2"%s/><text x="%.1f" y="11.5" fill="#111827">%s</text>`,
			wide+1, c.fill, c.border, dash, wide+30, name)
		wide += 30 + charWide*float64(len(name)) + 24
	}
	return b.String(), wide
}

func (g Graph) count(s State) (n int) {
	for i := range g {
		if g[i].State == s {
			n++
		}
	}
	return n
}

func text(s string) string { return html.EscapeString(s) }
