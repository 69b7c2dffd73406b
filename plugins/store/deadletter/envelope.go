package deadletter

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"time"

	"weir/internal/event"
	"weir/internal/platform/rawjson"
	"weir/internal/platform/text"
)

// version is the version of the envelope: schemas/dead_letter/v1.json.
const version = 1

// Encodings of the original bytes within an envelope.
const (
	encodingText   = "utf-8"
	encodingBase64 = "base64"
)

// Envelope is a dead letter: what failed, where and why, and the original bytes, so that it can be
// examined, repaired and sent in again.
type Envelope struct {
	Version  int                `json:"version"`
	ID       string             `json:"id"` // the same for each delivery of the failed message
	Fleet    string             `json:"fleet"`
	Stage    string             `json:"stage"`
	Code     event.Code         `json:"code"`
	Message  string             `json:"message"`
	Errors   []event.FieldError `json:"errors"`
	Original string             `json:"original"`
	Encoding string             `json:"original_encoding"`

	// If the original did not fit, Original is its beginning.
	OriginalSize   int64  `json:"original_size,omitempty"`
	OriginalSHA256 string `json:"original_sha256,omitempty"` // in hex

	// the record that failed; nil if it was refused at the gate
	Origin     *Origin           `json:"origin,omitempty"`
	Delivery   *Origin           `json:"delivery,omitempty"` // its first delivery, if it was published again
	Headers    map[string]string `json:"headers,omitempty"`
	ReceivedAt string            `json:"received_at,omitempty"`
	FailedAt   string            `json:"failed_at"`
	Device     string            `json:"device_id,omitempty"`
	Event      string            `json:"event_id,omitempty"`
}

// Origin is the coordinates of a record, and the log that has it, if known (kafka.Log): the topic
// may have been deleted and created again since.
type Origin struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	Log       string `json:"log,omitempty"`
}

func originOf(c event.Coordinates, log string) *Origin {
	return &Origin{c.Topic, c.Partition, c.Offset, log}
}

// coordinates returns the coordinates without the log.
func (o *Origin) coordinates() event.Coordinates {
	return event.Coordinates{Topic: o.Topic, Partition: o.Partition, Offset: o.Offset}
}

// Failure describes a message that failed.
type Failure struct {
	Stage     string
	Rejection *event.Rejection
	Original  []byte
	Fleet     string
	Record    *event.Coordinates // nil if it came from no log
	Delivery  *event.Coordinates // nil unless it differs from Record
	Headers   map[string]string
	Received  string // value of the header
	Index     int    // position in its request, if it came with one
	FailedAt  time.Time

	RecordLog, DeliveryLog string // logs of Record and Delivery; "": not known
}

// NewEnvelope makes the dead letter of a failure.
func NewEnvelope(f Failure) *Envelope {
	e := &Envelope{
		Version: version, ID: f.id(), Fleet: f.Fleet, Stage: f.Stage, Code: f.Rejection.Code,
		Message: f.Rejection.Error(), Errors: f.Rejection.Errors, Headers: f.Headers,
		FailedAt: f.FailedAt.UTC().Format(event.TimeFormat),
	}
	if e.Errors == nil {
		e.Errors = []event.FieldError{}
	}
	if t, ok := text.ParseTime(f.Received); ok {
		e.ReceivedAt = t.UTC().Format(event.TimeFormat)
	}
	if f.Record != nil {
		e.Origin = originOf(*f.Record, f.RecordLog)
	}
	if f.Delivery != nil {
		e.Delivery = originOf(*f.Delivery, f.DeliveryLog)
	}
	e.keep(f.Original)
	e.Device, e.Event = identify(f.Original)
	return e
}

// id returns the id of the failure. It is derived from stage, coordinates and log, so that a record
// that is delivered again fails with the same id, and a record of another log with another; for an
// event that the gate refused, from what its request had.
func (f *Failure) id() string {
	h := sha256.New()
	fmt.Fprintf(h, "weir dead letter\x00%s\x00", f.Stage)
	if f.Record != nil {
		h.Write(f.Record.Append(nil))
		if f.RecordLog != "" { // else the id is as before dead letters named their log
			fmt.Fprintf(h, "\x00%s", f.RecordLog)
		}
	} else {
		fmt.Fprintf(h, "%s\x00%s\x00%d\x00", f.Fleet, f.Received, f.Index)
		h.Write(f.Original)
	}
	id := h.Sum(nil)[:16]
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80 // a UUID of version 8
	x := hex.EncodeToString(id)
	return x[:8] + "-" + x[8:12] + "-" + x[12:16] + "-" + x[16:20] + "-" + x[20:]
}

// identify returns the device and the event id in bytes that need not be an event, nor valid JSON
// to their end.
func identify(raw []byte) (device, id string) {
	at := rawjson.Space(raw, 0)
	_, _ = rawjson.Object(raw, at, 0, func(key []byte, plain bool, i int) (int, error) {
		end, err := rawjson.Value(raw, i, 1)
		if err != nil || raw[i] != '"' {
			return end, err
		}
		_, plainValue, err := rawjson.String(raw, i)
		switch rawjson.Text(key, plain) {
		case event.FieldDevice:
			if s := rawjson.Text(raw[i+1:end-1], plainValue); event.ValidDevice(s) {
				device = s
			}
		case event.FieldID:
			s := rawjson.Text(raw[i+1:end-1], plainValue)
			if _, ok := text.ParseUUID(s); ok {
				id = s
			}
		}
		return end, err
	})
	return device, id
}

// originalBytes returns the original bytes, as far as the envelope has them.
func (e *Envelope) originalBytes() ([]byte, error) {
	switch e.Encoding {
	case encodingText:
		return []byte(e.Original), nil
	case encodingBase64:
		raw, err := base64.StdEncoding.DecodeString(e.Original)
		if err != nil {
			return nil, fmt.Errorf("reading the original bytes: %w", err)
		}
		return raw, nil
	}
	return nil, fmt.Errorf("reading the original bytes: unknown encoding %q", e.Encoding)
}

// ParseEnvelope parses an envelope, and checks what weir relies on.
func ParseEnvelope(raw []byte) (*Envelope, error) {
	e := new(Envelope)
	if err := json.Unmarshal(raw, e); err != nil {
		return nil, fmt.Errorf("reading a dead letter: %w", err)
	}
	if e.Version != version {
		return nil, fmt.Errorf("reading a dead letter: unknown version %d", e.Version)
	}
	if err := checkStage(e.Stage); err != nil {
		return nil, fmt.Errorf("reading a dead letter: %w", err)
	}
	if _, ok := text.ParseUUID(e.ID); !ok {
		return nil, errors.New("reading a dead letter: id is no UUID")
	}
	if _, ok := text.ParseTime(e.FailedAt); !ok {
		return nil, errors.New("reading a dead letter: failed_at is no time")
	}
	if _, err := e.originalBytes(); err != nil {
		return nil, fmt.Errorf("reading a dead letter: %w", err)
	}
	return e, nil
}

const stagePattern = "^[a-z][a-z0-9_]{0,31}$"

// checkStage returns an error if a stage could not be the name of a folder.
func checkStage(stage string) error {
	if ok, err := regexp.MatchString(stagePattern, stage); err != nil || !ok {
		return fmt.Errorf("stage %q must be a lower-case letter and up to 31 letters, digits or '_'", stage)
	}
	return nil
}
