// Package block takes results of rules that block a device into the store of blocks,
// by which gates refuse its events for a time.
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

// Register adds the room's components.
func Register(env *service.Environment) error {
	return env.RegisterBatchOutput("subject_block", spec(), newOutput)
}

// stores are both that a batch is written to.
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

// output is subject_block.
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

// Connect opens the store.
func (o *output) Connect(ctx context.Context) error {
	_, err := o.stores.Get(ctx)
	return err
}

// result is what of a rule's result is looked at.
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
		User    string `json:"user"` // the part of the key or the value that says whom; "": the device
	} `json:"block"` // nil: its rule blocks nobody
}

// names are those parts of a key, and those values, that are texts.
type names map[string]string

// UnmarshalJSON passes over what is no text.
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

// told is what a result says of blocks. One that names no user, as events of somebody
// who has not signed in do, is of its device.
func (r *result) told() (block.Told, error) {
	t := block.Told{ID: r.ID, Revision: r.Revision, Rule: r.Rule, Fleet: r.Fleet, Device: r.Key["device_id"],
		User:   cmp.Or(r.Key[r.Block.User], r.Values[r.Block.User]),
		Reason: r.Alert.Summary, For: time.Duration(r.Block.Seconds) * time.Second, At: r.End, Back: r.Status == retracted}
	if t.Reason == "" {
		t.Reason = "the rule " + r.Rule
	}
	if t.At.IsZero() { // of one that is taken back
		t.At = time.Now()
	}
	if t.ID == "" || t.Fleet == "" || t.Device == "" || r.Block.Seconds <= 0 {
		return t, errors.New("reading a result: it does not name whom to block, and for how long; this output takes the " +
			"messages of rule_results")
	}
	return t, nil
}

// act is the entry of a result in the audit log, the same whenever it is told.
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

// WriteBatch returns nil when all blocks are committed, and then their entries in the
// audit log. A crash between the two has the batch come again, and enters what is
// missing.
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

// Close lets go of the store.
func (o *output) Close(context.Context) error {
	o.stores.Close()
	return nil
}

var _ service.BatchOutput = (*output)(nil)
