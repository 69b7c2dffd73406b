package api

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/control/auditlog"
	"weir/internal/platform/conf"
	"weir/internal/platform/sqldb"
)

const auditFieldURL = "url"

func auditSpec() *service.ConfigSpec {
	return service.NewConfigSpec().
		Version("1.0.0").
		Categories("Services").
		Summary("Appends administrative acts to the audit log in SQL.").
		Description(`
It takes the messages of the input `+"`api`"+`. Acknowledged means committed; an act that is delivered twice is there once. The log is
the table `+"`audit_log`"+`, and `+"`GET /v1/audit`"+` of the api reads it.`).
		Field(service.NewStringField(auditFieldURL).
			Description("The SQL store: `sqlite://PATH` or `postgres://…`.").Secret().
			Example("sqlite://data/control.db")).
		Example("Keep the audit log", "Beside the api, in the same stream.", `
input:
  api:
    control: sqlite://data/control.db
    rollups: sqlite://data/rollups.db
output:
  audit_log:
    url: sqlite://data/control.db
`)
}

// auditOutput implements the output audit_log.
type auditOutput struct{ log *sqldb.Lazy[*auditlog.Log] }

func newAuditOutput(parsed *service.ParsedConfig, res *service.Resources) (service.BatchOutput, service.BatchPolicy,
	int, error) {
	var url string
	err := conf.Checked(parsed, conf.Read(parsed, auditFieldURL, sqldb.URL(&url)))
	return &auditOutput{log: sqldb.NewLazy(res, url, auditlog.Open)}, service.BatchPolicy{}, 1, err
}

// Connect opens the log.
func (o *auditOutput) Connect(ctx context.Context) error {
	_, err := o.log.Get(ctx)
	return err
}

// WriteBatch returns nil when every act is committed.
func (o *auditOutput) WriteBatch(ctx context.Context, batch service.MessageBatch) error {
	l, err := o.log.Get(ctx)
	if err != nil {
		return err
	}
	acts := make([]auditlog.Act, len(batch))
	for i, msg := range batch {
		raw, err := msg.AsBytes()
		if err != nil {
			return err
		}
		if err := json.Unmarshal(raw, &acts[i]); err != nil {
			return fmt.Errorf("reading an act of the audit log: %w", err)
		}
		if acts[i].ID == "" {
			return fmt.Errorf("reading an act of the audit log: it has no id; this output takes the messages of the input api")
		}
	}
	return l.Add(ctx, acts...)
}

// Close closes the log.
func (o *auditOutput) Close(context.Context) error {
	o.log.Close()
	return nil
}
