package event

// Code says why an event was refused or failed. The list is closed: clients
// and redrives match on it.
type Code string

const (
	// not JSON, or JSON that weir refuses (duplicate keys, depth, UTF-8, numbers outside double)
	CodeInvalidJSON      Code = "invalid_json"
	CodeInvalidEvent     Code = "invalid_event"     // JSON, but without what every event must have
	CodeEventTooLarge    Code = "event_too_large"   // over a limit for one event
	CodeDeviceForbidden  Code = "device_forbidden"  // the API key may not send for this device
	CodeTooManyDevices   Code = "too_many_devices"  // a new device, beyond those that the fleet may have
	CodeBlocked          Code = "blocked"           // its device or user may send nothing for a time
	CodeUnknownFirmware  Code = "unknown_firmware"  // no schema is registered for this firmware version
	CodeSchemaViolation  Code = "schema_violation"  // does not fit the schema of its firmware
	CodeStale            Code = "stale"             // further from the time it was received than its stream takes
	CodeConsentDenied    Code = "consent_denied"    // its subject has not agreed to what its stream is for
	CodeQuarantined      Code = "quarantined"       // may be right, and is held until somebody has looked at it
	CodeProcessingFailed Code = "processing_failed" // a processor that a config put in the way failed
	CodeStoreRejected    Code = "store_rejected"    // a store can never take this value
	CodeExpired          Code = "expired"           // about to leave the log unprocessed
	CodeOverflow         Code = "overflow"          // beyond the depth that a group may lag
	CodeDeliveryFailed   Code = "delivery_failed"   // a notification used up its tries
)

// Codes lists every code, in the order above.
func Codes() []Code {
	return []Code{
		CodeInvalidJSON, CodeInvalidEvent, CodeEventTooLarge, CodeDeviceForbidden, CodeTooManyDevices, CodeBlocked,
		CodeUnknownFirmware, CodeSchemaViolation, CodeStale, CodeConsentDenied, CodeQuarantined,
		CodeProcessingFailed, CodeStoreRejected, CodeExpired, CodeOverflow, CodeDeliveryFailed,
	}
}

// Status is the status of HTTP in the verdict on an event that is refused for it.
func (c Code) Status() int {
	if c == CodeBlocked {
		return 403
	}
	return 400
}

// FieldError points at one thing that is wrong in an event.
type FieldError struct {
	Pointer string `json:"pointer"` // RFC 6901 JSON pointer; "" is the whole event
	Message string `json:"message"` // what was expected, in words
}

// Rejection is the error of an event that can never be processed as it is. It
// is bad data, never an outage: outages are ordinary errors and are retried.
type Rejection struct {
	Code   Code
	Errors []FieldError
}

// Reject makes a rejection with one field error.
func Reject(code Code, pointer, message string) *Rejection {
	return &Rejection{Code: code, Errors: []FieldError{{Pointer: pointer, Message: message}}}
}

func (r *Rejection) Error() string {
	if len(r.Errors) == 0 {
		return string(r.Code)
	}
	if e := r.Errors[0]; e.Pointer != "" {
		return string(r.Code) + ": " + e.Pointer + ": " + e.Message
	}
	return string(r.Code) + ": " + r.Errors[0].Message
}
