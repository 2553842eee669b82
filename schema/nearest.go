package schema

import "strings"

// Nearest returns the one of names that name was most likely meant to be, or "" if none
// is near: the first with the fewest edits, where case, "_" and "-" count for nothing
// and one edit and one more for every five letters are near.
func Nearest(name string, names []string) string {
	const longest = 100 // longer ones are no slip of the pen, and the cost is a product
	if len(name) > longest {
		return ""
	}
	from := []rune(fold(name))
	near, best := "", len(from)/5+2
	for _, n := range names {
		if to := []rune(fold(n)); len(to) <= longest {
			if d := distance(from, to); d < best {
				near, best = n, d
			}
		}
	}
	return near
}

func fold(s string) string {
	return strings.NewReplacer("_", "", "-", "").Replace(strings.ToLower(s))
}

// distance counts the insertions, deletions, substitutions and swaps of neighbours that
// make a into b (the optimal string alignment distance).
func distance(a, b []rune) int {
	before, prev, cur := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := range a {
		cur[0] = i + 1
		for j := range b {
			change := prev[j]
			if a[i] != b[j] {
				change++
			}
			cur[j+1] = min(change, prev[j+1]+1, cur[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				cur[j+1] = min(cur[j+1], before[j-1]+1)
			}
		}
		before, prev, cur = prev, cur, before
	}
	return prev[len(b)]
}
