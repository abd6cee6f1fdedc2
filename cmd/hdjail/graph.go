package main

import (
	"context"
	"io"
	"path/filepath"
	"slices"

	"github.com/urfave/cli/v2"

	"hdjail/build/graph"
	"hdjail/build/plan"
)

func graphCommand(a *app) *cli.Command {
	return &cli.Command{
		Name: "graph", Usage: "draw what specs depend on, and how far it is built", ArgsUsage: "[SPEC|ID...]",
		UsageText: "hdjail graph -o stack.svg app.yaml\nhdjail graph --format dot app.yaml | dot -Tpdf > app.pdf\nhdjail graph --json mf2x",
		Description: "What is named stands at the left. The colours tell what is realized, to be built, running now, failed, or has several realizations.\n" +
			"SVG needs no other program to be drawn.",
		Flags: append(planFlags(), jsonFlag(),
			&cli.StringFlag{Name: "format", Usage: "write `FORM`: dot, mermaid, svg or json", DefaultText: "by the name of the file, else dot"},
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Value: "-", Usage: "write `FILE`, - for standard output"}),
		Action: func(c *cli.Context) error {
			format, err := graphFormat(c)
			if err != nil {
				return err
			}
			r, err := a.request(c, c.Args().Slice())
			if err != nil {
				return err
			}
			if _, err := a.subjects(append(c.Args().Slice(), ".")...); err != nil {
				return err
			}
			p, err := a.plan(c.Context, r)
			if err != nil {
				return err
			}
			g, err := a.graph(c.Context, p)
			if err != nil {
				return err
			}
			return a.writeFile(c.String("output"), func(w io.Writer) error { return a.writeGraph(w, g, format) })
		},
	}
}

// graphFormat is the form that the command line asks for.
func graphFormat(c *cli.Context) (string, error) {
	format := c.String("format")
	known := map[string]string{".dot": "dot", ".gv": "dot", ".mmd": "mermaid", ".mermaid": "mermaid", ".svg": "svg", ".json": "json"}
	switch {
	case c.Bool("json") && format != "" && format != "json":
		return "", usagef("--json is another form than --format "+format, "leave out one of them")
	case c.Bool("json"):
		return "json", nil
	case format == "":
		if format = known[filepath.Ext(c.String("output"))]; format == "" {
			format = "dot"
		}
	case !slices.Contains([]string{"dot", "mermaid", "svg", "json"}, format):
		return "", usagef("--format is "+quote(format), "there are dot, mermaid, svg and json")
	}
	return format, nil
}

// graph is the graph of a plan with the states of its builds.
func (a *app) graph(ctx context.Context, p *plan.Plan) (graph.Graph, error) {
	b, err := a.builder()
	if err != nil {
		return nil, err
	}
	if err := a.letChoose(b, p); err != nil {
		return nil, err
	}
	states, err := b.States(ctx, p)
	if err != nil {
		return nil, err
	}
	g := make(graph.Graph, len(p.Steps))
	for i, step := range p.Steps {
		g[i] = graph.Node{ID: step.ID.String(), Name: step.Name(), State: states[i], Target: slices.Contains(p.Targets, step)}
		for _, dep := range step.Dependencies {
			g[i].Dependencies = append(g[i].Dependencies, dep.Index)
		}
	}
	return g, nil
}

func (a *app) writeGraph(w io.Writer, g graph.Graph, format string) error {
	switch format {
	case "dot":
		return g.WriteDOT(w)
	case "mermaid":
		return g.WriteMermaid(w)
	case "svg":
		return g.WriteSVG(w)
	}
	if w == a.out.data {
		return a.out.json(g)
	}
	return newOut(w, io.Discard, false).json(g)
}
