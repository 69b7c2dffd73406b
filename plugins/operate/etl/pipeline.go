package etl

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"weir/internal/platform/secret"
	"weir/internal/platform/text"
)

// Pipeline is a pipeline as its file describes it, checked as far as possible without asking its
// source.
type Pipeline struct {
	Name string

	dir     string // folder of the file, for relative paths
	source  source
	columns []column // columns of the source; nil: the source tells them
	steps   []stepSpec
	sinks   []target
	rejects *target
	block   int
	stream  bool          // it follows the source without an end
	every   time.Duration // of a stream: how long a batch waits for more rows
	memory  int64         // MiB of rows that a gathering step may keep
	tests   []mockTest

	compaction *compacting       // of a stream; nil: it does not compact
	mocked     bool              // it runs as a test: no server is contacted
	tables     map[string]*table // of the lookups, during a run

	onFailure string // for rows that cannot be read
	additions bool   // the source may have columns that it lacked in the last run
	text      []byte // the file with its references resolved, without tests; it has no secrets
}

// source is a source of rows; its kinds are those of readOne.
type source interface {
	// describe names the source for people.
	describe() string
	// open connects to the source and reads its columns. Errors may be shown: they have no secrets.
	open(ctx context.Context) (reading, error)
}

// target is where rows go: an object, which appears as a whole; a Delta table in a store, named by
// its folder; a table of a database; or a topic.
type target struct {
	format, url, object string
	table               *dbTable    // of a database, else nil
	delta               *deltaTable // of Delta Lake, else nil
	topic               *kafkaTopic // of Kafka, else nil
}

func (t target) String() string { return t.object + " as " + t.format }

func (t target) what() string {
	if t.table != nil || t.delta != nil {
		return "table"
	}
	if t.topic != nil {
		return "topic"
	}
	return "object"
}

var pipelineName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}$`)

const (
	rejectsFormat = "ndjson"
	mostBlock     = 100_000
)

// Load reads the file of a pipeline and the files that it refers to. A *ProblemsError lists all
// that is wrong, and where.
func Load(file string) (*Pipeline, error) {
	n, err := load(file)
	if err != nil {
		return nil, err
	}
	whole := n.plain()
	if members, is := whole.(map[string]any); is {
		delete(members, "tests") // tests do not change a run
	}
	raw, err := text.JSON(whole)
	if err != nil {
		return nil, fmt.Errorf("reading the pipeline: %w", err)
	}
	var problems []Problem
	r := n.object(&problems)
	r.member("$schema") // for editors
	r.member("description")
	p := &Pipeline{Name: r.text("name", true), dir: filepath.Dir(file), text: raw,
		stream: r.oneOf("mode", "batch", "stream") == "stream", memory: r.number("memory_mib", 256, 1, 1<<20)}
	p.readBlocks(r)
	if r.members["name"] != nil && !pipelineName.MatchString(p.Name) {
		r.wrong(r.members["name"], "expected small letters, digits, '_' and '-', at most 64")
	}
	if at := r.member("source"); at != nil {
		p.readSource(at, &problems)
	} else if r.members != nil {
		r.wrong(n, `"source" is missing`)
	}
	steps := r.list("steps")
	for _, at := range steps {
		p.steps = append(p.steps, p.readStep(at, &problems))
	}
	sinks := r.list("sinks")
	if len(sinks) == 0 && r.members != nil {
		r.wrong(n, `"sinks" is missing: name at least one`)
	}
	seen := map[string]bool{}
	for _, at := range sinks {
		t := p.readTarget(at, "", &problems)
		if seen[t.url+" "+t.object] {
			r.wrong(at, "another sink writes the same %s", t.what())
		}
		seen[t.url+" "+t.object] = true
		p.sinks = append(p.sinks, t)
	}
	if at := r.member("rejects"); at != nil {
		t := p.readTarget(at, rejectsFormat, &problems)
		if seen[t.url+" "+t.object] {
			r.wrong(at, "a sink writes the same object")
		}
		p.rejects = &t
	} else if p.rejecting() {
		r.wrong(n, `"rejects" is missing: rows are rejected, and need a place`)
	}
	p.readCompaction(r)
	tests := r.list("tests")
	r.end()
	if p.stream && r.members != nil {
		p.checkStream(r, steps, sinks)
	}
	if len(problems) == 0 && p.columns != nil && !p.asksOthers() {
		_, problems = p.plan(p.columns)
	}
	if len(problems) == 0 {
		p.readTests(tests, &problems)
	}
	if len(problems) > 0 {
		slices.SortStableFunc(problems, func(a, b Problem) int {
			return cmp.Or(strings.Compare(a.File, b.File), strings.Compare(a.Pointer, b.Pointer))
		})
		return nil, &ProblemsError{problems}
	}
	return p, nil
}

// rejecting tells whether rows may be rejected, which needs a sink for them.
func (p *Pipeline) rejecting() bool {
	return p.onFailure == onReject ||
		slices.ContainsFunc(p.steps, func(s stepSpec) bool { return s.onFailure == onReject })
}

// hash identifies what the pipeline does. A run that was interrupted is continued only with the
// same hash.
func (p *Pipeline) hash() string {
	sum := sha256.Sum256(p.text)
	return hex.EncodeToString(sum[:])
}

func (p *Pipeline) readSource(n *node, problems *[]Problem) {
	r := n.object(problems)
	p.onFailure = r.oneOf("on_failure", onFail, onDrop, onReject)
	p.additions = r.oneOf("changes", "refuse", "additions") == "additions"
	p.source, p.columns = p.readOne(r, true)
	if at := r.members["changes"]; at != nil && p.columns != nil {
		r.wrong(at, "the columns are named here, and change with the pipeline: changes is for postgres, mysql, parquet, "+
			"avro, delta, and rest without columns")
	}
	r.end()
}

// readOne reads a source, and its columns if they are declared.
func (p *Pipeline) readOne(r *reader, top bool) (source, []column) {
	kinds := []string{"", postgresFormat, mysqlFormat, "csv", "ndjson", "parquet", avroFormat, deltaFormat, restFormat}
	if top {
		kinds = append(kinds, "union", kafkaFormat)
	}
	switch r.oneOf("type", kinds...) {
	case postgresFormat:
		if p.stream && top {
			return p.readPostgresChanges(r), nil
		}
		return readPostgres(r), nil
	case mysqlFormat:
		if p.stream && top {
			return p.readMySQLChanges(r), nil
		}
		return p.readMySQL(r), nil
	case restFormat:
		return p.readREST(r)
	case "parquet":
		return p.readParquet(r), nil
	case avroFormat:
		return p.readAvroSource(r), nil
	case deltaFormat:
		return p.readDeltaSource(r), nil
	case "csv", "ndjson":
		return p.readFile(r)
	case "union":
		return p.readUnion(r)
	case kafkaFormat:
		return p.readKafka(r)
	}
	if r.members["type"] == nil && r.members != nil {
		r.wrong(r.n, `"type" is missing: %s`, strings.Join(kinds[1:], ", "))
	}
	r.known = append(r.known, sortedKeys(r.members)...) // of an unknown type, no field is reported
	return nil, nil
}

// readColumns reads the columns of a source that does not tell its own.
func readColumns(r *reader) (all []column) {
	list := r.list("columns")
	if len(list) == 0 {
		r.wrong(r.n, `"columns" is missing: a list of {"name": …, "type": …}`)
		return nil
	}
	seen := map[string]bool{}
	for _, n := range list {
		c := n.object(r.problems)
		one := column{name: c.text("name", true)}
		one.of = readType(c, "type")
		if seen[one.name] {
			r.wrong(n, "column %q stands twice", one.name)
		}
		seen[one.name] = true
		c.end()
		all = append(all, one)
	}
	return all
}

func readType(r *reader, name string) columnType {
	given := r.text(name, true)
	if given == "" {
		return columnType{}
	}
	of, err := parseType(given)
	if err != nil {
		r.wrong(r.members[name], "%v", err)
	}
	return of
}

// readTarget reads a sink. format is "" if the pipeline chooses it.
func (p *Pipeline) readTarget(n *node, format string, problems *[]Problem) target {
	r := n.object(problems)
	if format == "" {
		format = r.oneOf("format", "parquet", "ndjson", "csv", avroFormat, postgresFormat, mysqlFormat, deltaFormat,
			kafkaFormat)
	}
	if format == deltaFormat {
		defer r.end()
		return p.readDelta(r)
	}
	if format == kafkaFormat {
		defer r.end()
		return p.readTopic(r)
	}
	switch format {
	case postgresFormat:
		defer r.end()
		return readTable(r, postgresServer{readServer(r, postgresPort)})
	case mysqlFormat:
		defer r.end()
		return readTable(r, p.readMySQLServer(r))
	}
	t := target{format: format, url: r.text("url", true), object: r.text("object", true)}
	p.checkPlace(r, t, "object", "an object, such as 2026/orders.parquet")
	r.end()
	return t
}

// readSecret reads a reference to a secret. The secret itself is refused.
func readSecret(r *reader, name string) string {
	n := r.member(name)
	if n == nil {
		return ""
	}
	members, _ := n.value.(map[string]*node)
	for kept, prefix := range map[string]string{"$vault": "vault://", "$file": "file://"} {
		at := members[kept]
		if at == nil || len(members) != 1 {
			continue
		}
		where, is := at.value.(string)
		if !is || where == "" {
			r.wrong(at, "expected a text")
			return ""
		}
		if err := secret.Check(prefix + where); err != nil {
			r.wrong(at, "%v", err)
		}
		return prefix + where
	}
	// the value may be the secret: it is not shown
	r.wrong(n, `a secret is not written into a pipeline: expected {"$vault": "PATH#FIELD"} or {"$file": "PATH"}`)
	return ""
}

func names(columns []column) []string {
	all := make([]string, len(columns))
	for i, c := range columns {
		all[i] = c.name
	}
	return all
}

func indexOf(columns []column, name string) int {
	return slices.IndexFunc(columns, func(c column) bool { return c.name == name })
}

func sortedKeys[T any](m map[string]T) []string { return slices.Sorted(maps.Keys(m)) }
