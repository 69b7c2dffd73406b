package consent

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/control/consent"
	"weir/internal/event"
	"weir/internal/platform/conf"
	"weir/internal/platform/geo"
)

// policy is what of a subject's consents lets its events pass.
type policy struct {
	purposes []string
	subject  []string // the way to it in an event
	unknown  bool     // whether an event passes of whose subject nothing is known
	in       map[string]bool
}

// The two words of a policy.
const (
	pass = "pass"
	deny = "deny"
)

func policyOf(parsed *service.ParsedConfig) (*policy, error) {
	p := &policy{in: map[string]bool{}}
	var pointer, unknown string
	var in map[string]string
	return p, conf.Read(parsed,
		fieldPurposes, conf.Valid(&p.purposes, func() error {
			if len(p.purposes) == 0 {
				return fmt.Errorf("expected at least one purpose")
			}
			for _, purpose := range p.purposes {
				if err := consent.ValidPurpose(purpose); err != nil {
					return err
				}
			}
			return nil
		}),
		fieldSubject, conf.Valid(&pointer, func() (err error) { p.subject, err = event.WayTo(pointer); return err }),
		fieldUnknown, conf.Valid(&unknown, func() (err error) { p.unknown, err = word(unknown); return err }),
		fieldUnknownIn, conf.Valid(&in, func() error { return p.read(in) }))
}

func word(says string) (passes bool, err error) {
	if says != pass && says != deny {
		return false, fmt.Errorf("%q: expected %s or %s", says, pass, deny)
	}
	return says == pass, nil
}

// read reads what holds in some regions, of all purposes or of one.
func (p *policy) read(in map[string]string) error {
	for where, says := range in {
		region := where
		if purpose, rest, ok := strings.Cut(where, "/"); ok {
			region = rest
			if !slices.Contains(p.purposes, purpose) {
				return fmt.Errorf("%s: %q is none of the purposes", where, purpose)
			}
		}
		if !geo.IsRegion(region) {
			return fmt.Errorf("%q: expected a region such as US or US-CA, perhaps behind a purpose: ads/US", where)
		}
		passes, err := word(says)
		if err != nil {
			return fmt.Errorf("%s: %w", where, err)
		}
		p.in[where] = passes
	}
	return nil
}

// unknownIn is whether an event of a region passes of whose subject nothing is
// known. What is said of the part of a country counts before what is said of the
// country, and there what is said of a purpose before what is said of all.
func (p *policy) unknownIn(purpose, region string) bool {
	for region != "" {
		if passes, ok := p.in[purpose+"/"+region]; ok {
			return passes
		}
		if passes, ok := p.in[region]; ok {
			return passes
		}
		cut := strings.LastIndexByte(region, '-')
		region = region[:max(cut, 0)]
	}
	return p.unknown
}

// Why an event is denied.
const (
	deniedThen = "its subject had not agreed to %q when it happened"
	deniedNow  = "its subject does not agree to %q any more"
	deniedNone = "nothing is known of its subject's consent to %q"
)

// judge returns why an event may not pass, "" when it may: every purpose must be
// agreed to at the time of the event and now.
func (p *policy) judge(said consent.Histories, subject, region string, at time.Time) string {
	for _, purpose := range p.purposes {
		h := said[consent.Said{Subject: subject, Purpose: purpose}]
		then, now := h.At(at), h.Last()
		switch {
		case then == consent.Withdrawn:
			return fmt.Sprintf(deniedThen, purpose)
		case now == consent.Withdrawn:
			return fmt.Sprintf(deniedNow, purpose)
		case then == consent.Unknown && !p.unknownIn(purpose, region):
			if now == consent.Granted {
				return fmt.Sprintf(deniedThen, purpose)
			}
			return fmt.Sprintf(deniedNone, purpose)
		}
	}
	return ""
}
