package graph

import "slices"

// sweeps is how often the columns are ordered anew in each direction.
const sweeps = 12

// order sorts each column by the middles of what its spots are connected to, back and forth, and keeps the order with the
// fewest crossings.
func (l *layout) order() {
	at := make([]int, len(l.spots))
	l.number(at)
	best, fewest := l.clone(), l.crossings(at)
	for i := range 2 * sweeps {
		forth := i%2 == 0
		for k := range l.columns {
			c := k
			if !forth {
				c = len(l.columns) - 1 - k
			}
			l.sortColumn(c, at, forth)
		}
		if n := l.crossings(at); n < fewest {
			best, fewest = l.clone(), n
		}
	}
	l.columns = best
}

func (l *layout) clone() [][]int {
	columns := make([][]int, len(l.columns))
	for i, c := range l.columns {
		columns[i] = slices.Clone(c)
	}
	return columns
}

// number notes the place of each spot in its column.
func (l *layout) number(at []int) {
	for _, column := range l.columns {
		for i, s := range column {
			at[s] = i
		}
	}
}

// sortColumn orders a column by the places of the neighbours on one side. A spot without any stays where it is.
func (l *layout) sortColumn(c int, at []int, forth bool) {
	column := l.columns[c]
	middle := make(map[int]float64, len(column))
	for i, s := range column {
		neighbours := l.spots[s].next
		if forth {
			neighbours = l.spots[s].was
		}
		middle[s] = float64(i)
		if len(neighbours) > 0 {
			sum := 0
			for _, n := range neighbours {
				sum += at[n]
			}
			middle[s] = float64(sum) / float64(len(neighbours))
		}
	}
	slices.SortStableFunc(column, func(a, b int) int {
		switch {
		case middle[a] < middle[b]:
			return -1
		case middle[a] > middle[b]:
			return 1
		}
		return 0
	})
	for i, s := range column {
		at[s] = i
	}
}

// crossings counts the pairs of lines between neighbouring columns that cross.
func (l *layout) crossings(at []int) (n int) {
	for _, column := range l.columns {
		var ends []int
		for _, s := range column {
			first := len(ends)
			for _, to := range l.spots[s].next {
				ends = append(ends, at[to])
			}
			slices.Sort(ends[first:])
		}
		n += inversions(ends)
	}
	return n
}

// inversions counts the pairs that are out of order, and sorts the list.
func inversions(list []int) (n int) {
	if len(list) < 2 {
		return 0
	}
	left, right := slices.Clone(list[:len(list)/2]), slices.Clone(list[len(list)/2:])
	n = inversions(left) + inversions(right)
	for i := range list {
		if len(right) == 0 || len(left) > 0 && left[0] <= right[0] {
			list[i], left = left[0], left[1:]
			continue
		}
		list[i], right = right[0], right[1:]
		n += len(left)
	}
	return n
}
