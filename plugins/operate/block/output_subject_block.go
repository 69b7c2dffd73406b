// Package block writes the results of rules that block a device or a user to the store of blocks.
// Gates refuse events of blocked subjects for a time.
package block

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/control/auditlog"
	"weir/internal/control/block"
	"weir/internal/platform/conf"
	"weir/internal/platform/rawjson"
	"weir/internal/platform/sqldb"
)

const fieldURL = "url"

func spec() *service.ConfigSpec {
	return service.NewConfigSpec().
		Version("1.0.0").
		Categories("Weir").
		Summary("Blocks devices and users for a time, as results of rules say.").
		Description(`
It takes the messages of the input `+"`rule_results`"+`. Of those whose rule has `+"`block`"+` it blocks the device, or with `+"`block_user`"+` the user that the result names: from now on, for that time, `+"`schema_validate`"+` with `+"`blocks`"+` refuses their events as `+"`blocked`"+`. All others it passes over. A result that is taken back lifts its block. One that is handed on again changes nothing: neither is a block made longer by it, nor is one that somebody lifted put again. Each block is in the audit log, by `+"`rule:NAME`"+`.

Acknowledged means committed. While the store does not answer, results are tried again. A result of a device or person that was erased since blocks nobody.`).
		Field(service.NewStringField(fieldURL).
			Description("The SQL store of blocks: the control store of weir.").Secret().
			Example("sqlite:///var/lib/weir/control.db")).
		Example("Of what rules told", "Results of rules that block go to the store of blocks.", `
input:
  rule_results:
    url: sqlite://data/control.db

output:
  subject_block:
    url: sqlite://data/control.db
`)
}

// Register registers the components of this package.
func Register(env *service.Environment) error {
	return env.RegisterBatchOutput("subject_block", spec(), newOutput)
}

// stores are the two stores that a batch is written to.
type stores struct {
	blocks *block.Store
	acts   *auditlog.Log
}

func open(ctx context.Context, db *sqldb.DB) (s stores, err error) {
	if s.blocks, err = block.Open(ctx, db); err == nil {
		s.acts, err = auditlog.Open(ctx, db)
	}
	return s, err
}

// output is the component subject_block.
type output struct {
	stores *sqldb.Lazy[stores]
	log    *service.Logger
}

func newOutput(parsed *service.ParsedConfig, res *service.Resources) (service.BatchOutput, service.BatchPolicy, int,
	error) {
	var url string
	err := conf.Checked(parsed, conf.Read(parsed, fieldURL, sqldb.URL(&url)))
	return &output{sqldb.NewLazy(res, url, open), res.Logger()}, service.BatchPolicy{}, 1, err
}

// Connect opens the stores.
func (o *output) Connect(ctx context.Context) error {
	_, err := o.stores.Get(ctx)
	return err
}

// result is the part of a rule's result that is used here.
type result struct {
	ID       string    `json:"id"`
	Revision int64     `json:"revision"`
	Status   string    `json:"status"`
	Rule     string    `json:"rule"`
	Fleet    string    `json:"fleet"`
	Key      names     `json:"key"`
	Values   names     `json:"values"`
	End      time.Time `json:"window_end"`
	Alert    struct {
		Summary string `json:"summary"`
	} `json:"alert"`
	Block *struct {
		Seconds int64  `json:"seconds"`
		User    string `json:"user"` // name of the key or value with the user; "": the device is blocked
	} `json:"block"` // nil: the rule does not block
}

// names are the texts among the parts of a key, or among values.
type names map[string]string

// UnmarshalJSON reads the members that are texts, and skips others.
func (n *names) UnmarshalJSON(raw []byte) error {
	var all map[string]any
	if err := json.Unmarshal(raw, &all); err != nil {
		return err
	}
	*n = names{}
	for name, v := range all {
		if s, is := v.(string); is {
			(*n)[name] = s
		}
	}
	return nil
}

const retracted = "retracted"

// told returns the block that a result puts or lifts. A result without a user, as of events of
// people who have not signed in, blocks its device.
func (r *result) told() (block.Told, error) {
	t := block.Told{ID: r.ID, Revision: r.Revision, Rule: r.Rule, Fleet: r.Fleet, Device: r.Key["device_id"],
		User:   cmp.Or(r.Key[r.Block.User], r.Values[r.Block.User]),
		Reason: r.Alert.Summary, For: time.Duration(r.Block.Seconds) * time.Second, At: r.End, Back: r.Status == retracted}
	if t.Reason == "" {
		t.Reason = "the rule " + r.Rule
	}
	if t.At.IsZero() { // a result that is retracted has none
		t.At = time.Now()
	}
	if t.ID == "" || t.Fleet == "" || t.Device == "" || r.Block.Seconds <= 0 {
		return t, errors.New("reading a result: it does not name whom to block, and for how long; this output takes the " +
			"messages of rule_results")
	}
	return t, nil
}

// act returns the audit log's entry for a result; a repeated result gives an equal one.
func act(t *block.Told) auditlog.Act {
	what := "block put"
	if t.Back {
		what = "block lift"
	}
	kind, subject := t.Subject()
	return auditlog.Automatic("block-"+t.ID+"-"+strconv.FormatInt(t.Revision, 10), t.By(), what, t.Fleet, map[string]any{
		"fleet": t.Fleet, "kind": string(kind), "subject": auditlog.Text(subject),
		"reason": auditlog.Text(t.Reason), "id": t.ID})
}

// WriteBatch returns nil when all blocks, and then their entries in the audit log, are committed.
// After a crash between the two the batch comes again, which adds the missing entries.
func (o *output) WriteBatch(ctx context.Context, batch service.MessageBatch) error {
	var told []block.Told
	for _, msg := range batch {
		raw, err := msg.AsBytes()
		if err != nil {
			return err
		}
		blocks, err := rawjson.Has(raw, "block")
		if err != nil {
			return fmt.Errorf("reading a result: %w", err)
		}
		if !blocks { // as most do not
			continue
		}
		var r result
		if err := json.Unmarshal(raw, &r); err != nil {
			return fmt.Errorf("reading a result: %w", err)
		}
		if r.Block == nil {
			continue
		}
		one, err := r.told()
		if err != nil {
			return err
		}
		told = append(told, one)
	}
	if len(told) == 0 {
		return nil
	}
	s, err := o.stores.Get(ctx)
	if err != nil {
		return err
	}
	noted, err := s.blocks.Tell(ctx, told)
	if err != nil {
		return err
	}
	if noted.Full > 0 {
		o.log.Errorf("%d results of rules block nobody: their fleets have as many blocks in force as they may", noted.Full)
	}
	acts := make([]auditlog.Act, len(noted.Acts))
	for n, i := range noted.Acts {
		acts[n] = act(&told[i])
	}
	return s.acts.Add(ctx, acts...)
}

// Close closes the stores.
func (o *output) Close(context.Context) error {
	o.stores.Close()
	return nil
}

var _ service.BatchOutput = (*output)(nil)
