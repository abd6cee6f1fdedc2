package graph

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

// WriteDOT writes a graph for graphviz.
func (g Graph) WriteDOT(w io.Writer) error {
	b := bufio.NewWriter(w)
	fmt.Fprint(b, "digraph hdjail {\n  rankdir=LR;\n  node [shape=box, style=\"filled,rounded\", fontname=\"monospace\"];\n")
	for i, n := range g {
		fmt.Fprintf(b, "  n%d [label=%s, tooltip=%s, %s];\n", i, dotText(n.Name+"\n"+below(n)), dotText(n.ID), dotStyle(n))
	}
	for i := range g {
		for _, dep := range unique(g[i].Dependencies) {
			fmt.Fprintf(b, "  n%d -> n%d;\n", i, dep)
		}
	}
	fmt.Fprint(b, "  subgraph cluster_legend {\n    label=\"legend\";\n")
	for i, s := range States() {
		fmt.Fprintf(b, "    l%d [label=%s, %s];\n", i, dotText(fmt.Sprintf("%s: %d", s, g.count(s))), dotStyle(Node{State: s}))
	}
	fmt.Fprint(b, "  }\n}\n")
	return b.Flush()
}

func dotStyle(n Node) string {
	c := colors[n.State]
	style := fmt.Sprintf(`fillcolor="%s", color="%s"`, c.fill, c.border)
	if c.dash != "" {
		style += `, style="filled,rounded,dashed"`
	}
	if n.Target {
		style += ", penwidth=2.4"
	}
	return style
}

// dotText is a quoted string of the DOT language.
func dotText(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s) + `"`
}

// WriteMermaid writes a graph for Mermaid, which many web pages draw.
func (g Graph) WriteMermaid(w io.Writer) error {
	b := bufio.NewWriter(w)
	fmt.Fprint(b, "flowchart LR\n")
	for i, n := range g {
		fmt.Fprintf(b, "  n%d[\"%s<br/>%s\"]%s\n", i, mermaidText(n.Name), mermaidText(below(n)), mermaidClass(n.State))
	}
	for i := range g {
		for _, dep := range unique(g[i].Dependencies) {
			fmt.Fprintf(b, "  n%d --> n%d\n", i, dep)
		}
	}
	fmt.Fprint(b, "  subgraph legend\n")
	for i, s := range States() {
		fmt.Fprintf(b, "    l%d[\"%s: %d\"]%s\n", i, s, g.count(s), mermaidClass(s))
	}
	fmt.Fprint(b, "  end\n")
	for _, s := range States() {
		c := colors[s]
		fmt.Fprintf(b, "  classDef %s fill:%s,stroke:%s,color:#111827", strings.TrimPrefix(mermaidClass(s), ":::"), c.fill, c.border)
		if c.dash != "" {
			fmt.Fprintf(b, ",stroke-dasharray:%s", c.dash)
		}
		fmt.Fprintln(b)
	}
	return b.Flush()
}

func mermaidText(s string) string {
	return strings.NewReplacer(`"`, "#quot;", "<", "#lt;", ">", "#gt;", "#", "#35;").Replace(s)
}

func mermaidClass(s State) string {
	if s == "" {
		return ""
	}
	return ":::" + strings.ReplaceAll(string(s), " ", "")
}

// MarshalJSON implements json.Marshaler: a list of the nodes, whose dependencies are the IDs.
func (g Graph) MarshalJSON() ([]byte, error) {
	type node struct {
		Node
		Dependencies []string `json:"dependencies"`
	}
	list := make([]node, len(g))
	for i := range g {
		list[i] = node{g[i], []string{}}
		for _, dep := range g[i].Dependencies {
			if !slices.Contains(list[i].Dependencies, g[dep].ID) {
				list[i].Dependencies = append(list[i].Dependencies, g[dep].ID)
			}
		}
	}
	return json.Marshal(list)
}
