package validate

import (
	"context"
	"fmt"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/control/block"
	"weir/internal/event"
	"weir/internal/platform/conf"
	"weir/internal/platform/sqldb"
)

const (
	schemaFieldBlocks        = "blocks"
	schemaFieldBlocksURL     = "url"
	schemaFieldBlocksUser    = "user"
	schemaFieldBlocksRefresh = "refresh"
)

func blocksField() *service.ConfigField {
	return service.NewObjectField(schemaFieldBlocks,
		service.NewStringField(schemaFieldBlocksURL).
			Description("The SQL store of the blocks, which is the control store: `sqlite://PATH` or `postgres://…`. "+
				"Empty: nobody is blocked.").
			Default("").Secret().Example("sqlite:///var/lib/weir/control.db"),
		service.NewStringField(schemaFieldBlocksUser).
			Description("The JSON pointer of the user's id in events. If `privacy` replaces the id by a token, block the "+
				"token.").
			Default("/user/id"),
		service.NewDurationField(schemaFieldBlocksRefresh).
			Description("How often the store is asked who is blocked: a new block takes effect within this time.").
			Default("1s").Advanced(),
	).Description("Refuses the events of devices and users that `weir block`, `PUT /v1/blocks` or a rule with `block` " +
		"blocks for a time. While the store cannot be reached, known blocks stay in force until they end, and new ones " +
		"are " +
		"not seen. After a start, events wait some seconds at most for the first answer; until the store has answered, " +
		"nobody is blocked.")
}

// blocks refuses the events of blocked devices and users. A nil *blocks refuses none.
type blocks struct {
	*block.Follower
	user    []string // path of the user's id in an event
	pointer string
}

// readBlocks reads the config and returns a func that follows the blocks, to be called when the
// whole config is valid.
func readBlocks(parsed *service.ParsedConfig) (follow func(*service.Resources) *blocks, err error) {
	b := &blocks{}
	var url string
	var every time.Duration
	in := func(name string) string { return schemaFieldBlocks + "." + name }
	err = conf.Read(parsed, in(schemaFieldBlocksURL), sqldb.MaybeURL(&url),
		in(schemaFieldBlocksUser), conf.Valid(&b.pointer, func() (err error) {
			b.user, err = event.WayTo(b.pointer)
			return err
		}),
		in(schemaFieldBlocksRefresh), conf.Positive(&every))
	return func(res *service.Resources) *blocks {
		if url == "" {
			return nil
		}
		b.Follower = block.Follow(res, url, every)
		return b
	}, err
}

// ready waits until the blocks are known, as block.Follower does.
func (b *blocks) ready(ctx context.Context) error {
	if b == nil {
		return nil
	}
	return b.Ready(ctx)
}

// refuse returns why an event is refused, or nil. device is the event's device.
func (b *blocks) refuse(msg *service.Message, device string, now time.Time) *event.Rejection {
	if b == nil || b.None() {
		return nil
	}
	fleet := b.Of(event.FleetOf(msg))
	if until, blocked := fleet.Until(block.Device, device, now); blocked {
		return blockedUntil("/"+event.FieldDevice, until)
	}
	if !fleet.Any(block.User) {
		return nil
	}
	raw, err := msg.AsBytes()
	var e event.Event
	if err != nil || event.Parse(raw, &e) != nil {
		return nil // neither can fail: the event was found valid
	}
	if until, blocked := fleet.Until(block.User, e.TextAt(b.user), now); blocked {
		return blockedUntil(b.pointer, until)
	}
	return nil
}

// blockedUntil does not tell the reason, because it is sent to the device or user that is blocked.
func blockedUntil(pointer string, until time.Time) *event.Rejection {
	return event.Reject(event.CodeBlocked, pointer, fmt.Sprintf("is blocked until %s: its events are refused until then",
		until.Add(time.Second-1).Format(time.RFC3339)))
}

func (b *blocks) close() {
	if b != nil {
		b.Close()
	}
}
