package leaks

// reporter counts findings and lists as many as the limit allows.
type reporter struct {
	Report
	limit  int
	listed map[string]int
}

func newReporter(limit int) *reporter {
	r := &reporter{limit: limit, listed: map[string]int{}}
	r.Summary.Needs, r.Summary.References, r.Summary.Binary = map[Belongs]int{}, map[Belongs]int{}, map[Belongs]int{}
	r.ELF, r.Runpaths, r.Text, r.Report.Malformed = []Need{}, []Runpath{}, []Reference{}, []Malformed{}
	return r
}

// room reports whether one more of a kind may be listed. What leaks is counted apart, so that the rest does not crowd it out.
func (r *reporter) room(kind string, b Belongs) bool {
	key := kind + " " + string(b)
	r.listed[key]++
	return r.listed[key] <= r.limit
}

// file counts a file and what was not looked at in it.
func (r *reporter) file(j *job) {
	s, t := &r.Summary, &r.Truncated
	s.Files++
	s.Bytes += j.searched
	if j.text {
		s.Texts++
	}
	if j.interpreter != "" {
		s.Scripts++
	}
	if j.object != nil {
		s.ELF++
	}
	if j.cut {
		t.Texts++
	}
	if left := j.size - j.searched; left > 0 {
		t.Files++
		t.Bytes += left
	}
	t.Paths += j.dropped
	if j.malformed != nil {
		r.malformed(Malformed{j.path, j.malformed.Error()})
	}
}

func (r *reporter) need(n Need) {
	r.Summary.Needs[n.Belongs]++
	if r.room("need", n.Belongs) {
		r.ELF = append(r.ELF, n)
	} else {
		r.Truncated.Needs++
	}
}

func (r *reporter) runpath(p Runpath) {
	r.Summary.Runpaths++
	if r.room("runpath", p.Belongs) {
		r.Runpaths = append(r.Runpaths, p)
	} else {
		r.Truncated.Runpaths++
	}
}

func (r *reporter) reference(ref Reference) {
	if ref.Kind == "binary" {
		r.Summary.Binary[ref.Belongs]++
	} else {
		r.Summary.References[ref.Belongs]++
	}
	if r.room(ref.Kind, ref.Belongs) {
		r.Text = append(r.Text, ref)
	} else {
		r.Truncated.References++
	}
}

func (r *reporter) malformed(m Malformed) {
	r.Summary.Malformed++
	if r.room("malformed", Missing) {
		r.Report.Malformed = append(r.Report.Malformed, m)
	} else {
		r.Truncated.Malformed++
	}
}

func (r *reporter) finish() Report { return r.Report }
