package etl

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// postgresChanges is a table of a PostgreSQL server whose changes are followed by logical
// replication. A publication names the table, and a replication slot keeps the part of the log that
// was not read.
type postgresChanges struct {
	postgresServer
	table, slot, publication string
	meta                     changeFacts
	additions                bool  // new columns are accepted
	memory                   int64 // MiB that a transaction may take
	empties                  bool  // TRUNCATE empties tables that merge; else it ends the stream
}

var slotName = regexp.MustCompile(`^[a-z0-9_]{1,63}$`)

func (p *Pipeline) readPostgresChanges(r *reader) source {
	c := postgresChanges{postgresServer{readServer(r, postgresPort)}, r.text("table", true), r.text("slot", false),
		r.text("publication", false), readChangeFacts(r), p.additions, p.memory,
		r.oneOf("truncate", "refuse", "apply") == "apply"}
	for _, name := range []string{"query", "key"} {
		if at := r.member(name); at != nil {
			r.wrong(at, "a stream reads the changes of a whole table, in the order of their commits: it has no %s", name)
		}
	}
	usual := "weir_etl_" + strings.ReplaceAll(p.Name, "-", "_")
	for name, at := range map[string]*string{"slot": &c.slot, "publication": &c.publication} {
		if *at == "" {
			*at = usual
		}
		if !slotName.MatchString(*at) {
			where := r.n
			if r.members[name] != nil {
				where = r.members[name]
			}
			r.wrong(where, "a %s has a name of small letters, digits and '_', at most 63: %s has not", name, *at)
		}
	}
	return c
}

func (c postgresChanges) facts() changeFacts { return c.meta }

func (c postgresChanges) describe() string {
	return fmt.Sprintf("the changes of table %s of PostgreSQL %s, by slot %s and publication %s", c.table, c.host, c.slot,
		c.publication)
}

// Replica identities of a table, as in pg_class.relreplident.
const (
	identityKey     = "d"
	identityFull    = "f"
	identityIndex   = "i"
	identityNothing = "n"
)

// postgresTable is the catalog's description of a table.
type postgresTable struct {
	oid       int64
	name      string // SCHEMA.TABLE, quoted
	parted    bool   // it is partitioned
	identity  string
	cols      []column
	primary   []string // columns of the primary key
	told      []string // columns that the log has of a deleted row; nil: all
	toasted   []string // columns that the log may leave out of an update
	published int64    // identifies its membership in the publication; 0: none
}

// from returns the table for a FROM clause, without tables that inherit from it.
func (t postgresTable) from() string {
	if t.parted {
		return t.name
	}
	return "ONLY " + t.name
}

// mend returns the statement that makes the log have all columns of old rows.
func (t postgresTable) mend() string { return "ALTER TABLE " + t.name + " REPLICA IDENTITY FULL" }

// look reads the table's description. It returns an error that says why its changes cannot be
// followed.
func (c postgresChanges) look(ctx context.Context, r *postgresReading) (t postgresTable, err error) {
	var kind, level, schema, name string
	err = r.conn.QueryRow(ctx, `SELECT c.oid::bigint, n.nspname, c.relname, c.relkind::text, c.relreplident::text,
		current_setting('wal_level') FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.oid = to_regclass($1)`, quoted(c.table)).Scan(&t.oid, &schema, &name, &kind, &t.identity, &level)
	if errors.Is(err, pgx.ErrNoRows) {
		return t, dataError{fmt.Errorf("there is no table %s", c.table)}
	}
	if err != nil {
		return t, r.refused("asking", err)
	}
	t.name, t.parted = pgx.Identifier{schema, name}.Sanitize(), kind == "p"
	switch {
	case level != "logical":
		return t, dataError{fmt.Errorf("the server logs changes for wal_level %s, which tells of no rows: set "+
			"wal_level = logical in its configuration, and restart it", level)}
	case kind != "r" && kind != "p":
		return t, dataError{fmt.Errorf("%s is no table: what it shows has no changes of its own", c.table)}
	}
	if err := c.lookColumns(ctx, r, &t); err != nil {
		return t, err
	}
	if t.identity == identityNothing || t.identity == identityKey && t.primary == nil {
		return t, dataError{fmt.Errorf("table %s has no replica identity: the log would not tell which row is updated or "+
			"deleted. Give it a primary key, or %s", c.table, t.mend())}
	}
	return t, c.meta.check(t.cols)
}

// lookColumns reads the columns that the log has: those that the server computes from others
// (GENERATED … STORED) are not in it.
func (c postgresChanges) lookColumns(ctx context.Context, r *postgresReading, t *postgresTable) error {
	type attribute struct {
		name           string
		oid, modifier  int64
		made, external bool
		primary, told  bool
	}
	rows, err := r.conn.Query(ctx, `SELECT a.attname, a.atttypid::bigint, a.atttypmod::bigint, a.attgenerated <> '',
		a.attlen = -1 AND a.attstorage IN ('x', 'e', 'm'),
		EXISTS (SELECT FROM pg_index i WHERE i.indrelid = a.attrelid AND i.indisprimary AND a.attnum = ANY (i.indkey)),
		EXISTS (SELECT FROM pg_index i WHERE i.indrelid = a.attrelid AND i.indisreplident AND a.attnum = ANY (i.indkey))
		FROM pg_attribute a WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum`, t.oid)
	if err != nil {
		return r.refused("asking", err)
	}
	all, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (a attribute, err error) {
		return a, r.Scan(&a.name, &a.oid, &a.modifier, &a.made, &a.external, &a.primary, &a.told)
	})
	if err != nil {
		return r.refused("asking", err)
	}
	var wrong []error
	for _, a := range all {
		if a.made {
			continue
		}
		of, err := r.typeOf(ctx, pgconn.FieldDescription{Name: a.name, DataTypeOID: uint32(a.oid),
			TypeModifier: int32(a.modifier)})
		if err != nil {
			wrong = append(wrong, fmt.Errorf("column %q: %w", a.name, err))
		}
		t.cols = append(t.cols, column{a.name, of})
		if a.primary {
			t.primary = append(t.primary, a.name)
		}
		if t.identity == identityKey && a.primary || t.identity == identityIndex && a.told {
			t.told = append(t.told, a.name)
		} else if t.identity != identityFull && a.external {
			t.toasted = append(t.toasted, a.name)
		}
	}
	if len(wrong) > 0 {
		return dataError{fmt.Errorf("following table %s, whose columns come as they are: %w", c.table, errors.Join(wrong...))}
	}
	return nil
}

// publish finds the publication of the table. If there is none, it creates one if may is set.
func (c postgresChanges) publish(ctx context.Context, r *postgresReading, t *postgresTable, may bool) error {
	var oid int64
	var all, parted bool
	err := r.conn.QueryRow(ctx, `SELECT oid::bigint, pubinsert AND pubupdate AND pubdelete AND pubtruncate, pubviaroot
		FROM pg_publication WHERE pubname = $1`, c.publication).Scan(&oid, &all, &parted)
	of := "ONLY " + t.name
	if t.parted {
		of = t.name
	}
	make := fmt.Sprintf("CREATE PUBLICATION %s FOR TABLE %s WITH (publish_via_partition_root = true)", c.publication, of)
	switch {
	case errors.Is(err, pgx.ErrNoRows) && !may:
		return nil // the stream makes it
	case errors.Is(err, pgx.ErrNoRows):
		if _, err := r.conn.Exec(ctx, make); err != nil {
			return fmt.Errorf("making the publication, for which the user must own the table and may make publications - "+
				"or who does makes it: %s: %w", make, r.refused("asking", err))
		}
		return c.publish(ctx, r, t, false)
	case err != nil:
		return r.refused("asking", err)
	case !all:
		return dataError{fmt.Errorf("publication %s leaves out inserts, updates, deletes or truncates: ALTER PUBLICATION "+
			"%[1]s "+
			"SET (publish = 'insert, update, delete, truncate')", c.publication)}
	case t.parted && !parted:
		return dataError{fmt.Errorf("publication %s has changes under the names of partitions: ALTER PUBLICATION %[1]s SET "+
			"(publish_via_partition_root = true)", c.publication)}
	}
	return c.publishes(ctx, r, t, oid)
}

// publishes returns an error unless the publication has the whole table, and sets t.published. That
// changes when the table is taken out of the publication and added again: then it counts as another
// log, since the changes in between are in none.
func (c postgresChanges) publishes(ctx context.Context, r *postgresReading, t *postgresTable, oid int64) error {
	var member, part bool
	t.published = oid
	var own *int64
	if err := r.conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_get_publication_tables($1) p WHERE p.relid = $2),
		(SELECT r.oid::bigint FROM pg_publication_rel r WHERE r.prpubid = $3 AND r.prrelid = $2),
		EXISTS (SELECT FROM pg_publication_rel r WHERE r.prpubid = $3 AND r.prrelid = $2
			AND (to_jsonb(r) ->> 'prqual' IS NOT NULL OR to_jsonb(r) ->> 'prattrs' IS NOT NULL))`, c.publication, t.oid,
		oid).Scan(&member, &own, &part); err != nil {
		return r.refused("asking", err)
	}
	switch {
	case !member:
		return dataError{fmt.Errorf("publication %s does not have table %s: ALTER PUBLICATION %[1]s ADD TABLE %[3]s",
			c.publication, c.table, t.from())}
	case part:
		return dataError{fmt.Errorf("publication %s has table %s by a filter or by some columns, and a snapshot has all: "+
			"let "+
			"it have the table whole, and filter by a step", c.publication, c.table)}
	case own != nil:
		t.published = *own
	}
	return nil
}

// open reads the columns, for a plan. A stream uses dial.
func (c postgresChanges) open(ctx context.Context) (reading, error) {
	s, err := c.watch(ctx, false)
	if err != nil {
		return nil, err
	}
	return planReading{s}, nil
}

// notes returns what a user should know before running the pipeline.
func (s *postgresStream) notes() (all []string) {
	if s.at.toasted != nil {
		all = append(all, fmt.Sprintf("  an update that leaves a long value of %s as it was cannot be read, since the log "+
			"does not have it: %s", strings.Join(s.at.toasted, ", "), s.at.mend()))
	}
	return all
}

func (s *postgresStream) known() ([]string, string) { return slices.Clone(s.at.told), s.at.mend() }
