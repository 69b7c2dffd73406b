package event

// Code says why an event was rejected or failed. The codes are a closed list: clients and redrives match on them.
type Code string

const (
	// not JSON, or JSON that weir refuses (duplicate keys, depth, UTF-8, numbers outside double)
	CodeInvalidJSON      Code = "invalid_json"
	CodeInvalidEvent     Code = "invalid_event"     // JSON, but lacks what every event must have
	CodeEventTooLarge    Code = "event_too_large"   // over a limit for one event
	CodeDeviceForbidden  Code = "device_forbidden"  // the API key may not send for this device
	CodeTooManyDevices   Code = "too_many_devices"  // a new device beyond the fleet's maximum
	CodeBlocked          Code = "blocked"           // its device or user is blocked for a time
	CodeUnknownFirmware  Code = "unknown_firmware"  // no schema is registered for this firmware version
	CodeSchemaViolation  Code = "schema_violation"  // does not fit the schema of its firmware
	CodeStale            Code = "stale"             // too far from its receive time for its stream
	CodeConsentDenied    Code = "consent_denied"    // its subject has not consented to its stream's purpose
	CodeQuarantined      Code = "quarantined"       // kept for review; may be valid
	CodeProcessingFailed Code = "processing_failed" // a processor added by a config failed
	CodeStoreRejected    Code = "store_rejected"    // a store can never accept this value
	CodeExpired          Code = "expired"           // about to leave the log unprocessed
	CodeOverflow         Code = "overflow"          // beyond the backlog that a consumer group may have
	CodeDeliveryFailed   Code = "delivery_failed"   // a notification failed after all its attempts
)

// Codes lists every code, in the order above.
func Codes() []Code {
	return []Code{
		CodeInvalidJSON, CodeInvalidEvent, CodeEventTooLarge, CodeDeviceForbidden, CodeTooManyDevices, CodeBlocked,
		CodeUnknownFirmware, CodeSchemaViolation, CodeStale, CodeConsentDenied, CodeQuarantined,
		CodeProcessingFailed, CodeStoreRejected, CodeExpired, CodeOverflow, CodeDeliveryFailed,
	}
}

// Status returns the HTTP status of a verdict with this code.
func (c Code) Status() int {
	if c == CodeBlocked {
		return 403
	}
	return 400
}

// FieldError describes one error in an event.
type FieldError struct {
	Pointer string `json:"pointer"` // RFC 6901 JSON pointer; "" is the whole event
	Message string `json:"message"` // what was expected
}

// Rejection is the error of an event that can never be processed as it is. It always means bad data; an outage is an
// ordinary error and is retried.
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
