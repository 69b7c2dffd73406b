package cli

import (
	"fmt"
	"strings"
)

const (
	diffAround = 3       // unchanged lines shown around changes
	diffMost   = 4 << 20 // maximum number of line pairs compared
)

// diff returns the line differences of two texts, "" when they are equal.
func diff(fromName, toName, from, to string) string {
	if from == to {
		return ""
	}
	lines := edits(strings.SplitAfter(from, "\n"), strings.SplitAfter(to, "\n"))
	near := make([]bool, len(lines))
	for i, l := range lines {
		for j := max(0, i-diffAround); l[0] != ' ' && j < min(len(lines), i+diffAround+1); j++ {
			near[j] = true
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "--- %s\n+++ %s\n", fromName, toName)
	for i, l := range lines {
		if !near[i] || len(l) == 1 {
			continue
		}
		if i > 0 && !near[i-1] {
			b.WriteString("@@\n")
		}
		b.WriteString(strings.TrimSuffix(l, "\n") + "\n")
	}
	return b.String()
}

// edits returns the lines of both texts prefixed by a space, - or +, with the fewest changes. If the texts are too
// large, everything between their common head and tail is replaced.
func edits(from, to []string) (out []string) {
	head := 0
	for head < min(len(from), len(to)) && from[head] == to[head] {
		head++
	}
	tail := 0
	for tail < min(len(from), len(to))-head && from[len(from)-1-tail] == to[len(to)-1-tail] {
		tail++
	}
	a, b := from[head:len(from)-tail], to[head:len(to)-tail]
	common := make([][]int32, len(a)+1) // length of the longest common subsequence from each pair of lines on
	if len(a)*len(b) > diffMost {
		common = nil
	}
	for i := len(common) - 1; i >= 0; i-- {
		common[i] = make([]int32, len(b)+1)
		for j := len(b) - 1; j >= 0 && i < len(a); j-- {
			if a[i] == b[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	add := func(mark string, lines ...string) {
		for _, l := range lines {
			out = append(out, mark+l)
		}
	}
	add(" ", from[:head]...)
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case common != nil && i < len(a) && j < len(b) && a[i] == b[j]:
			add(" ", a[i])
			i, j = i+1, j+1
		case i < len(a) && (j == len(b) || common == nil || common[i+1][j] >= common[i][j+1]):
			add("-", a[i])
			i++
		default:
			add("+", b[j])
			j++
		}
	}
	add(" ", from[len(from)-tail:]...)
	return out
}
