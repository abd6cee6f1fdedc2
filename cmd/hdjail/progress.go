package main

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"hdjail/build"
)

// progress makes the view of what happens that --progress names.
func (o *out) progress(form string, now func() time.Time) (view, error) {
	if form == "auto" {
		form = "plain"
		if isTerminal(o.people) && os.Getenv("TERM") != "dumb" {
			form = "tree"
		}
	}
	switch form {
	case "tree":
		return newTreeView(o, now), nil
	case "plain":
		return &plainView{out: o}, nil
	case "quiet":
		return quietView{}, nil
	case "json":
		return jsonView{build.NewEventWriter(o.people)}, nil
	}
	return nil, usagef("--progress is "+quote(form), "there are auto, tree, plain, quiet and json")
}

type quietView struct{}

func (quietView) Send(build.Event) {}
func (quietView) stop()            {}

type jsonView struct{ *build.EventWriter }

func (jsonView) stop() {}

// plainView prints a line when a build begins something that takes time, and when it ends.
type plainView struct{ out *out }

func (v *plainView) Send(e build.Event) {
	switch {
	case e.Event == "build.phase" && e.Text != "":
		v.out.say("%s: %s", escape(e.Name), escape(e.Text))
	case e.Event == "build.phase" && (e.Phase == "fetch" || e.Phase == "run"):
		v.out.say("%s: %s", escape(e.Name), phaseWords[e.Phase])
	case e.Event == "build.leaks":
		v.out.say("%s: %s", escape(e.Name), leaksText(e))
	case e.Event == "build.done" && e.Status != "cached":
		v.out.say("%s: %s", escape(e.Name), ending(e))
	}
}

func (v *plainView) stop() {}

// phaseWords are the phases of a build as a person is told of them.
var phaseWords = map[string]string{"lock": "waiting", "fetch": "fetching", "sources": "unpacking", "host": "preparing", "run": "building",
	"check": "checking", "register": "storing"}

// leaksText is what a person is told of an output that needs more than it should.
func leaksText(e build.Event) string {
	return fmt.Sprintf("the output needs or names %d things outside its dependencies and whitelist: hdjail audit %s --output", e.Total, e.Drv)
}

func ending(e build.Event) string {
	if e.Status == "skipped" {
		_, cause, _ := strings.Cut(e.Error, ": ")
		return strings.TrimSuffix("skipped: "+cause, ": ")
	}
	took := seconds(time.Duration(e.Seconds * float64(time.Second)))
	if e.Status == "failed" && e.Realization != "" {
		_, reason, _ := strings.Cut(e.Error, ": ")
		return fmt.Sprintf("built in %s, but refused by its matcher: %s", took, reason)
	}
	return fmt.Sprintf("%s in %s", e.Status, took)
}

// seconds is a length of time, for people.
func seconds(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return d.Round(time.Second).String()
}

// node is one build as the tree shows it.
type node struct {
	name         string
	dependencies []string
	target       bool
	// state is "waiting", a phase, or how it ended.
	state   string
	began   time.Time
	ended   build.Event
	line    string // the last one of its log
	percent string
}

// treeView shows the dependency tree of what is built, at the bottom of the terminal, until stop.
type treeView struct {
	out  *out
	now  func() time.Time
	quit chan struct{}
	done chan struct{}

	mu     sync.Mutex
	began  time.Time
	nodes  map[string]*node
	order  []string
	counts map[string]int
	drawn  int // lines on the screen
}

const frame = 100 * time.Millisecond

func newTreeView(o *out, now func() time.Time) *treeView {
	v := &treeView{out: o, now: now, quit: make(chan struct{}), done: make(chan struct{}), began: now(), nodes: map[string]*node{}, counts: map[string]int{}}
	o.hide = v.erase
	go v.run()
	return v
}

func (v *treeView) run() {
	defer close(v.done)
	ticker := time.NewTicker(frame)
	defer ticker.Stop()
	for {
		select {
		case <-v.quit:
			return
		case <-ticker.C:
			v.draw()
		}
	}
}

// stop takes the tree away and leaves a line for each build that was run.
func (v *treeView) stop() {
	close(v.quit)
	<-v.done
	v.out.hide = nil
	v.erase()
	for _, id := range v.order {
		if n := v.nodes[id]; n.ended.Status != "" && n.ended.Status != "cached" {
			v.out.say("%s %s", v.mark(n), escape(n.name+": "+ending(n.ended)))
		}
	}
}

// Send implements build.EventSink.
func (v *treeView) Send(e build.Event) {
	if e.Drv == "" {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	n := v.nodes[e.Drv]
	if n == nil {
		n = &node{name: e.Name, state: "waiting", target: true}
		v.nodes[e.Drv] = n
		v.order = append(v.order, e.Drv)
		v.counts["waiting"]++
	}
	switch e.Event {
	case "step":
		n.dependencies, n.target = e.Dependencies, e.Target
	case "build.start":
		n.began = e.Time
		v.move(n, "lock")
	case "build.phase":
		v.move(n, e.Phase)
		n.line, n.percent = e.Text, ""
	case "build.fetch":
		if n.percent = size(e.Done); e.Total > 0 {
			n.percent = fmt.Sprintf("%d %% of %s", 100*e.Done/e.Total, size(e.Total))
		}
	case "build.log":
		text := strings.TrimRight(e.Text, "\n")
		n.line = text[strings.LastIndexByte(text, '\n')+1:]
	case "build.done":
		n.ended = e
		v.move(n, e.Status)
	}
}

// move counts a node where it is now.
func (v *treeView) move(n *node, state string) {
	v.counts[total(n.state)]--
	n.state = state
	v.counts[total(state)]++
}

// total is what a state is counted as in the footer.
func total(state string) string {
	if phaseWords[state] != "" {
		return "running"
	}
	return state
}

func (v *treeView) erase() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.drawn > 0 {
		fmt.Fprintf(v.out.people, "\x1b[%dA\r\x1b[J", v.drawn)
		v.drawn = 0
	}
}

// draw replaces what is on the screen, in one write.
func (v *treeView) draw() {
	width, height := 80, 24
	if f, ok := v.out.people.(*os.File); ok {
		if w, h, err := term.GetSize(int(f.Fd())); err == nil && w > 0 && h > 0 {
			width, height = w, h
		}
	}
	v.out.mu.Lock()
	defer v.out.mu.Unlock()
	v.mu.Lock()
	defer v.mu.Unlock()
	var b strings.Builder
	if v.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA\r\x1b[J", v.drawn)
	}
	lines := append(v.tree(width, max(height-2, 3)), v.footer())
	for _, line := range lines {
		b.WriteString(line + "\n")
	}
	v.drawn = len(lines)
	fmt.Fprint(v.out.people, b.String())
}

func (v *treeView) footer() string {
	var parts []string
	for _, state := range []string{"running", "waiting", "built", "fetched", "cached", "failed", "skipped"} {
		if n := v.counts[state]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, state))
		}
	}
	return v.out.paint(bold, strings.Join(parts, ", ")+"  "+seconds(v.now().Sub(v.began)))
}

// row is a line of the tree that may be shown.
type row struct {
	depth int
	node  *node
}

// tree is what is going on below the targets; where there is no room, first what has ended goes, then what waits.
func (v *treeView) tree(width, height int) []string {
	var rows []row
	seen := map[string]bool{}
	var walk func(id string, depth int)
	walk = func(id string, depth int) {
		n := v.nodes[id]
		if n == nil || seen[id] || n.state == "cached" || len(rows) > 1000 {
			return
		}
		seen[id] = true
		rows = append(rows, row{depth, n})
		for _, dep := range n.dependencies {
			walk(dep, depth+1)
		}
	}
	for _, id := range v.order {
		if v.nodes[id].target {
			walk(id, 0)
		}
	}
	for _, drop := range []string{"built", "skipped", "waiting"} {
		if len(rows) <= height {
			break
		}
		rows = without(rows, drop, len(rows)-height)
	}
	rows = rows[:min(len(rows), height)]
	lines := make([]string, len(rows))
	for i, r := range rows {
		lines[i] = v.row(r, width)
	}
	return lines
}

// without drops up to n rows in the given state.
func without(rows []row, state string, n int) []row {
	kept := rows[:0]
	for _, r := range rows {
		if n > 0 && r.node.state == state {
			n--
			continue
		}
		kept = append(kept, r)
	}
	return kept
}

func (v *treeView) row(r row, width int) string {
	n := r.node
	text := strings.Repeat("  ", r.depth) + n.name
	switch {
	case n.ended.Status != "":
		text += "  " + ending(n.ended)
	case total(n.state) == "running":
		text += "  " + strings.TrimSpace(phaseWords[n.state]+" "+n.percent) + "  " + seconds(v.now().Sub(n.began))
		if n.line != "" {
			text += "  " + n.line
		}
	}
	cut := []rune(strings.ReplaceAll(escape(text), "\t", " "))
	return v.mark(n) + " " + string(cut[:min(len(cut), max(width-3, 1))])
}

func (v *treeView) mark(n *node) string {
	switch total(n.state) {
	case "running":
		return v.out.paint(yellow, "▶")
	case "built", "fetched", "cached":
		return v.out.paint(green, "✔")
	case "failed":
		return v.out.paint(red, "✘")
	case "skipped":
		return v.out.paint(dim, "-")
	}
	return v.out.paint(dim, "·")
}
