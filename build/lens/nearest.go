package lens

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/agext/levenshtein"
)

// mostShown is how many names a help line lists.
const mostShown = 8

// Nearest is a help line for a name that is not among those known: what was meant, or the ones most like it. It is empty
// when nothing is known.
func Nearest(name string, known []string) string {
	if len(known) == 0 {
		return ""
	}
	distance := map[string]int{}
	for _, k := range known {
		distance[k] = levenshtein.Distance(name, k, nil)
	}
	list := slices.Clone(known)
	slices.SortFunc(list, func(a, b string) int { return cmp.Or(distance[a]-distance[b], cmp.Compare(a, b)) })
	if distance[list[0]] < 3 {
		return fmt.Sprintf("did you mean %q?", list[0])
	}
	if len(list) > mostShown {
		return "nearest are " + strings.Join(list[:mostShown], ", ")
	}
	slices.Sort(list)
	return "there are " + strings.Join(list, ", ")
}
