// Package subject exports what weir keeps of a person: aliases, consents, events and dead letters,
// as they are stored. It changes nothing, and stores nothing.
package subject

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	"weir/internal/control/consent"
	"weir/internal/control/identity"
	"weir/internal/event"
	"weir/plugins/store/deadletter"
	"weir/plugins/store/lake"
	"weir/plugins/store/raw"
)

// Stores are the stores to search.
type Stores struct {
	Identities       *identity.Store
	Consents         *consent.Store
	Raw, DeadLetters *lake.Store
	// User and Anonymous are JSON pointers to the ids in events.
	User, Anonymous string
}

// Summary is the last line of an export, with the number of lines of each kind.
type Summary struct {
	Kind        string    `json:"kind"` // end
	At          time.Time `json:"at"`
	Events      int       `json:"events"`
	DeadLetters int       `json:"dead_letters"`
	Consents    int       `json:"consents"`
	// Ambiguous counts events of devices that other people used, too, without a user or anonymous
	// id. They are left out, since they may be another person's.
	Ambiguous int `json:"ambiguous_events_left_out"`
}

// Export writes to w, as one JSON object per line, the person's names and devices, their consents,
// their events and their dead letters, and last the summary: a file without that line is
// incomplete.
func Export(ctx context.Context, s Stores, fleet, person string, w io.Writer) (sum Summary, err error) {
	x := exporter{Stores: s, fleet: fleet, out: json.NewEncoder(w), sum: Summary{Kind: "end", At: time.Now().UTC()}}
	x.out.SetEscapeHTML(false)
	if x.user, err = event.WayTo(s.User); err != nil {
		return sum, fmt.Errorf("reading where events have the user: %w", err)
	}
	if x.anonymous, err = event.WayTo(s.Anonymous); err != nil {
		return sum, fmt.Errorf("reading where events have the anonymous id: %w", err)
	}
	if x.person, err = s.Identities.Person(ctx, fleet, person, 0); err != nil {
		return sum, err
	}
	if err := x.out.Encode(map[string]any{"kind": "person", "fleet": fleet, "person": x.person.ID,
		"aliases": x.person.Aliases, "devices": x.person.Devices}); err != nil {
		return sum, fmt.Errorf("writing the export: %w", err)
	}
	for _, write := range []func(context.Context) error{x.consents, x.events, x.letters} {
		if err := write(ctx); err != nil {
			return x.sum, err
		}
	}
	if err := x.out.Encode(x.sum); err != nil {
		return x.sum, fmt.Errorf("writing the export: %w", err)
	}
	return x.sum, nil
}

type exporter struct {
	Stores
	fleet           string
	user, anonymous []string
	person          *identity.Person
	out             *json.Encoder
	sum             Summary
}

func (x *exporter) consents(ctx context.Context) error {
	for _, subject := range append(x.person.Names(), x.person.Devices...) {
		if slices.Contains(x.person.Shared, subject) {
			continue // a consent of a shared device may be another person's
		}
		changes, err := x.Consents.Changes(ctx, x.fleet, subject)
		if err != nil {
			return err
		}
		for _, c := range changes {
			x.sum.Consents++
			if err := x.out.Encode(struct {
				Kind    string `json:"kind"`
				Subject string `json:"subject"`
				consent.Change
			}{"consent", subject, c}); err != nil {
				return fmt.Errorf("writing the export: %w", err)
			}
		}
	}
	return nil
}

// belongs tells whether an event is the person's (theirs), or may be another's (ambiguous).
func (x *exporter) belongs(e *event.Event) (theirs, ambiguous bool) {
	names := x.person.Names()
	user, anonymous := e.TextAt(x.user), e.TextAt(x.anonymous)
	switch {
	case user != "":
		return slices.Contains(names, user), false
	case anonymous != "":
		return slices.Contains(names, anonymous), false
	}
	shared := slices.Contains(x.person.Shared, e.Device)
	return !shared, shared
}

func (x *exporter) events(ctx context.Context) error {
	if len(x.person.Devices) == 0 {
		return nil // without devices, a query returns the events of all
	}
	var text []byte
	laters := raw.NewLaters(ctx, x.Raw, time.Time{})
	defer laters.Close()
	_, err := raw.NewReader(x.Raw).Scan(ctx, raw.Query{Fleet: x.fleet, Devices: x.person.Devices},
		func(r *raw.Row) (err error) {
			if text, err = r.AppendJSON(text[:0]); err != nil {
				return err
			}
			var e event.Event
			if err := event.Parse(text, &e); err != nil {
				return fmt.Errorf("reading a stored event: %w", err)
			}
			theirs, ambiguous := x.belongs(&e)
			if ambiguous {
				x.sum.Ambiguous++
			}
			if !theirs {
				return nil
			}
			x.sum.Events++
			line := map[string]any{"kind": "event", "received_at": time.UnixMicro(r.ReceivedAt).UTC(),
				"event": json.RawMessage(text)}
			found, err := laters.Of(r)
			if err != nil {
				return err
			}
			var facts []json.RawMessage
			for _, later := range found {
				facts = append(facts, later.Facts)
			}
			if facts != nil {
				line["enriched_later"] = facts
			}
			return x.out.Encode(line)
		})
	if err != nil {
		return fmt.Errorf("exporting events: %w", err)
	}
	return nil
}

func (x *exporter) letters(ctx context.Context) error {
	names := x.person.Names()
	err := deadletter.Scan(ctx, x.DeadLetters, deadletter.Query{Fleet: x.fleet}, func(r *deadletter.Row) error {
		var e event.Event
		theirs := false
		if event.Parse(r.Original, &e) == nil {
			theirs, _ = x.belongs(&e)
			theirs = theirs && (slices.Contains(x.person.Devices, e.Device) || slices.Contains(names, e.TextAt(x.user)) ||
				slices.Contains(names, e.TextAt(x.anonymous)))
		} else {
			theirs = slices.Contains(x.person.Devices, r.Device) && !slices.Contains(x.person.Shared, r.Device)
		}
		if !theirs {
			return nil
		}
		x.sum.DeadLetters++
		return x.out.Encode(map[string]any{"kind": "dead_letter", "id": r.IDText(), "stage": r.Stage, "code": r.Code,
			"original": string(r.Original)})
	})
	if err != nil {
		return fmt.Errorf("exporting dead letters: %w", err)
	}
	return nil
}
