package graph

// place gives every spot its coordinates: columns as wide as their widest box, and in a column each spot as near as can be to the
// middle of its neighbours.
func (l *layout) place(g Graph) {
	l.wide = make([]float64, len(l.columns))
	for i := range g {
		c := l.spots[i].column
		l.wide[c] = max(l.wide[c], boxWide(g[i]))
	}
	x := 0.0
	for c, column := range l.columns {
		y := 0.0
		for i, s := range column {
			if i > 0 {
				y += l.apart(column[i-1], s)
			}
			l.spots[s].x, l.spots[s].y = x, y
		}
		x += l.wide[c] + columnGap
	}
	l.width = max(0, x-columnGap)
	for i := range settles {
		for k := range l.columns {
			if i%2 == 1 {
				k = len(l.columns) - 1 - k
			}
			l.settle(l.columns[k])
		}
	}
	l.shift()
}

// apart is the least distance between the middles of two neighbours in a column.
func (l *layout) apart(a, b int) float64 {
	gap := lineGap
	if l.spots[a].node >= 0 && l.spots[b].node >= 0 {
		gap = boxGap
	}
	return gap + (l.spots[a].high+l.spots[b].high)/2
}

// settles is how often all columns are settled; long lines straighten slowly.
const settles = 120

// settle moves the spots of a column towards their neighbours, as little as their distances demand: the least squares under
// these constraints, which pooling adjacent violators finds. A spot without neighbours stays beside the one above it.
func (l *layout) settle(column []int) {
	type pool struct {
		sum, weight float64
		spots       int
	}
	var pools []pool
	offsets := make([]float64, len(column))
	for i, s := range column {
		if i > 0 {
			offsets[i] = offsets[i-1] + l.apart(column[i-1], s)
		}
		wish, weight := l.wish(s)
		if weight == 0 && i > 0 {
			pools[len(pools)-1].spots++
			continue
		}
		weight = max(weight, 1e-6)
		p := pool{weight * (wish - offsets[i]), weight, 1}
		for len(pools) > 0 && pools[len(pools)-1].sum/pools[len(pools)-1].weight > p.sum/p.weight {
			last := pools[len(pools)-1]
			pools = pools[:len(pools)-1]
			p = pool{p.sum + last.sum, p.weight + last.weight, p.spots + last.spots}
		}
		pools = append(pools, p)
	}
	i := 0
	for _, p := range pools {
		for range p.spots {
			l.spots[column[i]].y = p.sum/p.weight + offsets[i]
			i++
		}
	}
}

// wish is where a spot wants to be, and how much. Between bends lines are to be straight, more than between boxes.
func (l *layout) wish(s int) (y, weight float64) {
	for _, list := range [][]int{l.spots[s].next, l.spots[s].was} {
		for _, other := range list {
			w := 1.0
			for _, end := range []int{s, other} {
				if l.spots[end].node < 0 {
					w *= 2.5
				}
			}
			y += w * l.spots[other].y
			weight += w
		}
	}
	if weight == 0 {
		return l.spots[s].y, 0
	}
	return y / weight, weight
}

// shift moves everything so that the topmost box begins at 0.
func (l *layout) shift() {
	top, bottom := 0.0, 0.0
	for i, s := range l.spots {
		if i == 0 || s.y-s.high/2 < top {
			top = s.y - s.high/2
		}
		if i == 0 || s.y+s.high/2 > bottom {
			bottom = s.y + s.high/2
		}
	}
	for i := range l.spots {
		l.spots[i].y -= top
	}
	l.height = bottom - top
}
