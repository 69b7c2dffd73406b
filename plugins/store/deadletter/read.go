package deadletter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/parquet-go/parquet-go"

	"weir/internal/event"
	"weir/plugins/store/lake"
)

// Query selects dead letters. Empty lists and texts select all.
type Query struct {
	From, To time.Time // of failed_at, [From, To); the zero time is no bound
	Fleet    string
	Device   string
	Stages   []string
	Codes    []event.Code
}

// errStop ends a scan early, without error.
var errStop = errors.New("stop")

// Scan calls each once for each dead letter of the query, by hours, and within an hour in the order
// of failed_at. It keeps the ids that it has passed: 16 bytes for each dead letter.
func Scan(ctx context.Context, store *lake.Store, q Query, each func(*Row) error) error {
	given := map[[16]byte]bool{}
	for try := 0; ; try++ {
		var refused error
		objects, err := q.objects(ctx, store)
		if err != nil {
			return err
		}
		err = store.Scan(ctx, Table(), objects, q.From, q.To, func(ref lake.Ref) error {
			r, err := decodeRef(ref)
			if err != nil || given[r.ID] || !q.wants(r) {
				return err
			}
			given[r.ID] = true
			refused = each(r)
			return refused
		})
		switch {
		case errors.Is(refused, errStop):
			return nil
		case refused == nil && errors.Is(err, lake.ErrNotFound) && try < 5:
			continue // compaction has moved its rows: list again
		}
		return err
	}
}

// objects returns the objects that may have dead letters of the query.
func (q *Query) objects(ctx context.Context, store *lake.Store) ([]lake.Object, error) {
	objects, err := store.Objects(ctx, lake.Select{From: q.From, To: q.To})
	return slices.DeleteFunc(objects, func(o lake.Object) bool {
		return len(q.Stages) > 0 && !slices.Contains(q.Stages, stageOf(o))
	}), err
}

// Size returns how many objects Scan opens for a query, and their bytes.
func Size(ctx context.Context, store *lake.Store, q Query) (objects, bytes int64, err error) {
	found, err := q.objects(ctx, store)
	for _, o := range found {
		bytes += o.Size
	}
	return int64(len(found)), bytes, err
}

func (q *Query) wants(r *Row) bool {
	return (q.Fleet == "" || r.Fleet == q.Fleet) && (q.Device == "" || r.Device == q.Device) &&
		(len(q.Stages) == 0 || slices.Contains(q.Stages, r.Stage)) &&
		(len(q.Codes) == 0 || slices.Contains(q.Codes, event.Code(r.Code)))
}

// decodeRef decodes a row from its columns. Its bytes refer to the columns' memory.
func decodeRef(ref lake.Ref) (*Row, error) {
	text := func(col int) string { return string(ref.Value(col).ByteArray()) }
	optional := func(col int) []byte {
		if v := ref.Value(col); !v.IsNull() {
			return v.ByteArray()
		}
		return nil
	}
	number := func(v parquet.Value) int64 {
		if v.IsNull() {
			return 0
		}
		return v.Int64()
	}
	r := &Row{
		Version: ref.Value(colVersion).Int32(), Fleet: text(colFleet), Stage: text(colStage), Code: text(colCode),
		Message: text(colMessage), Errors: ref.Value(colErrors).ByteArray(), Original: ref.Value(colOriginal).ByteArray(),
		Headers: optional(colHeaders), ReceivedAt: number(ref.Value(colReceivedAt)), FailedAt: ref.Value(colFailedAt).Int64(),
		Device: string(optional(colDevice)), Event: string(optional(colEvent)),
		OriginalSize: number(ref.Value(colOriginalSize)), OriginalSHA256: string(optional(colOriginalSHA256)),
		OriginLog: string(optional(colOriginLog)), DeliveryLog: string(optional(colDeliveryLog)),
		RecordLog: string(optional(colLog)),
	}
	copy(r.ID[:], ref.Value(colID).ByteArray())
	if c, ok := refCoordinates(ref, colOriginTopic); ok {
		r.Origin = &c
	}
	if c, ok := refCoordinates(ref, colTopic); ok {
		r.Record = &c
	}
	if delivery := optional(colDelivery); delivery != nil {
		c, err := event.ParseCoordinates(string(delivery))
		if err != nil {
			return nil, fmt.Errorf("reading column delivery: %w", err)
		}
		r.Delivery = &c
	}
	return r, nil
}
