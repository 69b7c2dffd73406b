package rule

import (
	"regexp"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"weir/internal/platform/predicate"
)

// need says what a cell must keep of a column for the aggregates of it.
type need uint8

const (
	needNumbers  need = 1 << iota // the values must be numbers; their minimum and maximum
	needFirst                     // the value of the earliest event
	needLast                      // the value of the latest event
	needSketch                    // a sketch for quantiles
	needDistinct                  // the set of values
	needTop                       // the count of each value
	needSum                       // the sum
	needSquares                   // the sum of squares

	needText = needFirst | needLast | needDistinct | needTop // these keep or hash values as JSON
)

// column is an expression whose values are aggregated. Aggregates of the same expression share one.
type column struct {
	expr  *predicate.Expr // nil if it did not compile
	needs need
	vars  uint64 // of a pattern or join: the variables or sides on whose events it is evaluated; 0: on all
}

// value is one field of a result.
type value struct {
	name string
	kind string
	col  int     // the index of its column; -1: of count(), which has none
	q    float64 // of quantile: from 0 to 1
	n    int     // of top: how many values
	of   int     // of a pattern: the variable, or gapRow for the whole match; of a join: 0 left, 1 right
}

var (
	call     = regexp.MustCompile(`^\s*([a-z][a-z0-9_]*)\s*\((.*)\)\s*$`)
	quantile = regexp.MustCompile(`^p([0-9]{1,2}|100)(?:_([0-9]{1,3}))?$`)
	topArgs  = regexp.MustCompile(`^(.*),\s*([0-9]{1,3})\s*$`)
)

const aggregates = "count(), count(x), sum(x), min(x), max(x), avg(x), stddev(x), first(x), last(x), p50(x), " +
	"p99_9(x), distinct(x), sketch(x), top(x, 5)"

// selected checks and compiles select, of windows and patterns.
func (c *checker) selected(r *Rule, node *yaml.Node, l *predicate.Layout) {
	if node.Kind != yaml.MappingNode || len(node.Content) == 0 {
		c.at("select", "is missing or empty: name the values of a result, as in {n: count()}; each is one of %s",
			aggregates)
		return
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		name, source := node.Content[i].Value, node.Content[i+1].Value
		field := "select." + name
		if !plainPath.MatchString(name) || strings.Contains(name, ".") {
			c.at(field, "%q is not a valid name: write letters, digits and '_', and no digit first", name)
		}
		m := call.FindStringSubmatch(source)
		if m == nil && r.pattern != nil && plainPath.MatchString(source) { // A.x
			m = []string{"", "last", source}
		}
		if m == nil {
			c.at(field, "%q is not an aggregate: write one of %s", source, aggregates)
			continue
		}
		v := value{name: name, kind: m[1]}
		needs, arg, ok := c.aggregate(&v, field, m[2])
		if !ok {
			continue
		}
		vars := uint64(0)
		if r.pattern != nil {
			if vars, arg, ok = c.ofVariable(r, &v, field, arg); !ok {
				continue
			}
		}
		v.col = r.column(arg, needs, vars, func() *predicate.Expr { return c.expr(field, arg, l) })
		r.values = append(r.values, v)
	}
}

// aggregate sets the kind of an aggregate and its parameters. It returns what the aggregate needs of its column, and
// the expression.
func (c *checker) aggregate(v *value, field, arg string) (needs need, of string, ok bool) {
	of = strings.TrimSpace(arg)
	switch v.kind {
	case "count":
	case "min", "max":
		needs = needNumbers
	case "sum", "avg":
		needs = needNumbers | needSum
	case "stddev":
		needs = needNumbers | needSum | needSquares
	case "first":
		needs = needFirst
	case "last":
		needs = needLast
	case "distinct", "sketch":
		needs = needDistinct
	case "top":
		needs, v.n = needTop, 10
		if m := topArgs.FindStringSubmatch(of); m != nil {
			of = strings.TrimSpace(m[1])
			v.n, _ = strconv.Atoi(m[2]) // three digits
		}
	default:
		m := quantile.FindStringSubmatch(v.kind)
		if m == nil {
			c.at(field, "%q is not an aggregate: write one of %s", v.kind, aggregates)
			return 0, "", false
		}
		q, err := strconv.ParseFloat(m[1]+"."+m[2], 64)
		if m[2] == "" {
			q, err = strconv.ParseFloat(m[1], 64)
		}
		if err != nil || q > 100 {
			c.at(field, "%q is not a percentile: write one from p0 to p100", v.kind)
			return 0, "", false
		}
		needs, v.kind, v.q = needNumbers|needSketch, "quantile", q/100
	}
	if of == "" && v.kind != "count" {
		c.at(field, "%s needs a value, as in %s(this.metrics.cpu_temp)", v.kind, v.kind)
		return 0, "", false
	}
	return needs, of, true
}

// ofVariable sets which variable of the pattern an aggregate is of. It returns the variable as a bit, 0 for the whole
// match, and the expression to evaluate on its events.
func (c *checker) ofVariable(r *Rule, v *value, field, arg string) (vars uint64, source string, ok bool) {
	if len(r.pattern.names) == 0 { // the pattern is wrong; that is reported already
		return 0, "", false
	}
	of, source, err := argument(r.pattern.names, arg)
	switch {
	case err != nil:
		c.at(field, "%s", err)
		return 0, "", false
	case source == "" && v.kind != "count":
		c.at(field, "%s(%s) needs a value, as in %s(%s.metrics.cpu_temp)", v.kind, arg, v.kind, arg)
		return 0, "", false
	case of == gapRow && source != "" && !hasWord(source, "this"):
		c.at(field, "%q names no variable of the pattern: write one, or this for all events of the match", arg)
		return 0, "", false
	}
	if v.of = of; of >= 0 && source != "" {
		vars = 1 << of
	}
	return vars, source, true
}

// column returns the index of the column of an expression, which it adds if there is none; -1 for "".
func (r *Rule) column(source string, needs need, vars uint64, compile func() *predicate.Expr) int {
	if source == "" {
		return -1
	}
	for i, col := range r.cols {
		if col.expr != nil && col.expr.String() == source && col.vars == vars {
			col.needs |= needs
			return i
		}
	}
	r.cols = append(r.cols, &column{compile(), needs, vars})
	return len(r.cols) - 1
}
