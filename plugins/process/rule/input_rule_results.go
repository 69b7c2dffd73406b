package rule

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/conf"
	"weir/internal/platform/jobs"
	"weir/internal/platform/meter"
	"weir/internal/platform/rawjson"
	"weir/internal/platform/sqldb"
)

const (
	resultsFieldURL  = "url"
	resultsFieldPoll = "poll"
)

func ruleResultsSpec() *service.ConfigSpec {
	return service.NewConfigSpec().
		Version("0.1.0").
		Categories("Weir").
		Summary("Hands on the results of rules until they are acknowledged.").
		Description(`
Each result of `+"`event_rules`"+` is a message: its JSON as the API shows it, with the metadata `+"`weir_result_id`, `weir_rule_revision`, `weir_rule`, `weir_fleet`"+` and
`+"`local_device`"+`, and `+"`local_alerts`"+` if its rule has an alert, which is cheaper to check than the JSON. The revisions of an id come in their order. An acknowledged result does not come again. After a crash, results that were not acknowledged come again, with the same
id, revision and bytes: a sink that uses `+"`weir_result_id`"+` and the revision as the key has each once. Of several such inputs one hands results on. When its
process ends, another goes on: at once or, after a crash, within 10 seconds.

### Metrics

`+"`weir_rules_handed_on_total`").
		Field(service.NewStringField(resultsFieldURL).
			Description("The SQL store of results, as in `event_rules`.").
			Secret().Example("sqlite:///var/lib/weir/control.db").Example("postgres://weir:secret@db:5432/weir")).
		Field(service.NewDurationField(resultsFieldPoll).
			Description("How often the store is polled for results of other processes. Results of this process are handed "+
				"on at once. An SQLite file that this process writes is polled a quarter as often.").Default("250ms")).
		Example("To people's own systems", "Final results go to a webhook, which may get one twice.", `
input:
  rule_results:
    url: sqlite://data/control.db

output:
  switch:
    cases:
      - check: json("status") == "provisional"
        output:
          drop: {}
      - output:
          http_client:
            url: https://example.com/results
            verb: POST
            headers:
              Idempotency-Key: ${! @weir_result_id }-${! @weir_rule_revision }
`)
}

// results is the input rule_results. One batch is under way at a time.
type results struct {
	res    *service.Resources
	url    string
	poll   time.Duration
	handed *service.MetricCounter
	turn   chan struct{} // a lock, held until a batch is acknowledged; guards until and pace
	owner  string        // the name of this input in the lease
	now    func() time.Time
	until  time.Time // when to renew the lease; zero: this input does not have it
	pace   pace

	mu      sync.Mutex // guards what follows
	db      *sqldb.DB
	bell    *bell // of db
	release func()
}

func newResults(parsed *service.ParsedConfig, res *service.Resources) (*results, error) {
	in := &results{res: res, turn: make(chan struct{}, 1), owner: uuid.NewString(), now: time.Now,
		handed: meter.Counter(res.Metrics(), "weir_rules_handed_on_total")}
	return in, conf.Checked(parsed, conf.Read(parsed, resultsFieldURL, sqldb.URL(&in.url), resultsFieldPoll,
		conf.Positive(&in.poll)))
}

// Connect opens the store, and creates its tables if needed.
func (in *results) Connect(ctx context.Context) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.db != nil {
		return nil
	}
	db, release, err := sqldb.Shared(ctx, in.res, in.url)
	if err != nil {
		return fmt.Errorf("opening the store of rules: %w", err)
	}
	if err := migrate(ctx, db); err != nil {
		release()
		return err
	}
	in.db, in.bell, in.release = db, bellOf(db), release
	return nil
}

// handedLeast and handedMost bound the largest size of a batch: see pace.
const handedLeast, handedMost = 500, 4000

// pace adapts the largest size of a batch to its sinks: it grows while batches are full and acknowledged fast, so that
// the fixed cost of a batch does not bound the throughput, and shrinks when a batch takes a good part of the lease.
type pace struct{ most int }

func (p *pace) limit() int { return max(p.most, handedLeast) }

// took adapts the size to how long a batch of so many results took.
func (p *pace) took(results int, d time.Duration) {
	switch {
	case d > handLease/4:
		p.most = max(p.limit()/2, handedLeast)
	case d < handLease/10 && results >= p.limit():
		p.most = min(2*p.limit(), handedMost)
	}
}

// ReadBatch waits for results that are not acknowledged, and returns the oldest. One batch is under way at a time: the
// next call waits until the AckFunc was called. If that is given an error, the results come again.
func (in *results) ReadBatch(ctx context.Context) (service.MessageBatch, service.AckFunc, error) {
	in.mu.Lock()
	db, bell := in.db, in.bell
	in.mu.Unlock()
	if db == nil {
		return nil, nil, service.ErrNotConnected
	}
	select {
	case in.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	for {
		began := time.Now()
		batch, keys, err := in.next(ctx, db)
		if err == nil && len(batch) > 0 {
			return batch, func(ctx context.Context, err error) error {
				defer func() { <-in.turn }()
				if err != nil {
					return nil // the results are not marked as sent, and come again
				}
				if err := sent(ctx, db, keys); err != nil {
					return err
				}
				in.pace.took(len(keys), time.Since(began))
				in.handed.Incr(int64(len(keys)))
				return nil
			}, nil
		}
		if err == nil {
			rung := bell.rung
			if in.until.IsZero() {
				rung = nil // it is for the input that has the lease
			}
			select {
			case <-ctx.Done():
				err = ctx.Err()
			case <-rung:
				continue
			case <-time.After(in.pause(db.Dialect, bell)):
				continue
			}
		}
		<-in.turn
		return nil, nil, err
	}
}

// pause is the interval of polling the store for results of other processes, which ring no bell here. It is longer for
// SQLite if outputs of this process write it, since other processes hardly do.
func (in *results) pause(dialect sqldb.Dialect, b *bell) time.Duration {
	if dialect == sqldb.SQLite && len(b.outputs()) > 0 {
		return 4 * in.poll
	}
	return in.poll
}

// handLease is how long the lease on handing results on lasts: a crash delays results by as much, and if a batch takes
// longer, another input may hand the same results on.
const handLease = 10 * time.Second

// next reads the next results, if this input has the lease or gets it; else it returns none.
func (in *results) next(ctx context.Context, db *sqldb.DB) (service.MessageBatch, []resultKey, error) {
	now := in.now()
	if !now.Before(in.until) {
		if err := in.lease(ctx, outbox(db), now); err != nil {
			return nil, nil, err
		}
	}
	if in.until.IsZero() {
		return nil, nil, nil
	}
	return unsent(ctx, db, in.pace.limit())
}

// lease renews the lease, or takes it if it is free. in.until is zero if another input has it.
func (in *results) lease(ctx context.Context, work jobs.Table, now time.Time) error {
	err := jobs.ErrLost
	if !in.until.IsZero() {
		err = work.Renew(ctx, in.owner, outboxID, now, "")
	}
	if errors.Is(err, jobs.ErrLost) {
		in.until = time.Time{}
		var id string
		if id, err = work.Take(ctx, in.owner, "", now); err == nil && id == "" {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("asking who hands results on: %w", err)
	}
	in.until = now.Add(handLease / 3)
	return nil
}

// outboxID is the id of the only row of rule_outbox.
const outboxID = "results"

func outbox(db *sqldb.DB) jobs.Table {
	return jobs.Table{DB: db, Name: "rule_outbox", Key: "id", Until: "lease_until", Owner: "owner", Lease: handLease,
		Work: `id = '` + outboxID + `'`, Order: "id"}
}

// resultKey names a revision of a result.
type resultKey struct {
	id       string
	revision int64
}

// unsent reads the oldest results that are not acknowledged, at most so many.
func unsent(ctx context.Context, db *sqldb.DB, most int) (batch service.MessageBatch, keys []resultKey, err error) {
	rows, err := db.QueryContext(ctx, fmt.Sprintf(`SELECT id, revision, rule, fleet, device_id, result FROM rule_result WHERE sent = 0
		ORDER BY recorded_at, id, revision LIMIT %d`, most))
	if err != nil {
		return nil, nil, fmt.Errorf("reading results of rules: %w", err)
	}
	for rows.Next() {
		var key resultKey
		var rule, fleet, device, text string
		if err = rows.Scan(&key.id, &key.revision, &rule, &fleet, &device, &text); err != nil {
			break
		}
		msg := service.NewMessage([]byte(text))
		msg.MetaSetMut(event.HeaderResult, key.id)
		msg.MetaSetMut(event.HeaderRevision, fmt.Sprint(key.revision))
		msg.MetaSetMut(event.HeaderRule, rule)
		msg.MetaSetMut(event.HeaderFleet, fleet)
		msg.MetaSetMut(event.MetaDevice, device)
		if is, err := rawjson.Has(rawjson.Bytes(text), "alert"); is && err == nil { // weir wrote the JSON
			msg.MetaSetMut(event.MetaAlerts, "true")
		}
		batch, keys = append(batch, msg), append(keys, key)
	}
	if err = errors.Join(err, rows.Err(), rows.Close()); err != nil {
		return nil, nil, fmt.Errorf("reading results of rules: %w", err)
	}
	return batch, keys, nil
}

// sent marks results as acknowledged. When it returns nil, that is durable.
func sent(ctx context.Context, db *sqldb.DB, keys []resultKey) error {
	err := tombstone.Update(ctx, db, func(tx *sql.Tx) error {
		if db.Dialect == sqldb.Postgres { // one statement, since each is a round trip
			ids, revisions := make([]string, len(keys)), make([]int64, len(keys))
			for i, k := range keys {
				ids[i], revisions[i] = k.id, k.revision
			}
			_, err := tx.ExecContext(ctx, `UPDATE rule_result r SET sent = 1 FROM unnest($1::text[], $2::bigint[]) AS k (id, revision)
				WHERE r.id = k.id AND r.revision = k.revision`, ids, revisions)
			return err
		}
		stmt, err := tx.PrepareContext(ctx, `UPDATE rule_result SET sent = 1 WHERE id = $1 AND revision = $2`)
		if err != nil {
			return err
		}
		each := unbroken(ctx, rowsMost(db.Dialect))
		for _, k := range keys {
			if err = ctx.Err(); err == nil {
				_, err = stmt.ExecContext(each, k.id, k.revision)
			}
			if err != nil {
				break
			}
		}
		return errors.Join(err, stmt.Close())
	})
	if err != nil {
		return fmt.Errorf("noting which results were handed on: %w", err)
	}
	return nil
}

// Close releases the store and, unless a batch is under way, the lease, so that another input goes on at once.
// Otherwise the lease has to expire.
func (in *results) Close(ctx context.Context) (err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.release != nil {
		select {
		case in.turn <- struct{}{}:
			if !in.until.IsZero() {
				in.until = time.Time{}
				err = outbox(in.db).Release(ctx, in.owner, outboxID, "")
			}
			<-in.turn
		default:
		}
		in.release()
		in.db, in.release = nil, nil
	}
	if err != nil && !errors.Is(err, jobs.ErrLost) {
		return fmt.Errorf("giving the results to another: %w", err)
	}
	return nil
}
