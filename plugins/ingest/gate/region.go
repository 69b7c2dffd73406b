package gate

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/platform/conf"
	"weir/internal/platform/geo"
)

const (
	gateFieldGeo        = "geo"
	gateFieldGeoFile    = "file"
	gateFieldGeoRefuse  = "refuse"
	gateFieldGeoOnly    = "only"
	gateFieldGeoUnknown = "refuse_unknown"
	gateFieldGeoProxies = "trusted_proxies"
)

func geoField() *service.ConfigField {
	return service.NewObjectField(gateFieldGeo,
		service.NewStringField(gateFieldGeoFile).
			Description("The file of a database in MaxMind's format (.mmdb), which has the country, and perhaps the "+
				"region, of network addresses. It is read again when it changes. Empty: regions are not determined.").
			Default("").Example("/var/lib/weir/country.mmdb"),
		service.NewStringListField(gateFieldGeoRefuse).
			Description("Regions (ISO 3166: `US`, `US-CA`) from which nothing is accepted.").Default([]any{}).
			Example([]any{"KP", "US-CA"}),
		service.NewStringListField(gateFieldGeoOnly).
			Description("The only regions from which events are accepted. Empty: all that are not refused.").Default([]any{}),
		service.NewBoolField(gateFieldGeoUnknown).
			Description("Whether to refuse requests from addresses that the database does not know. With `only` they are "+
				"always refused.").Default(false),
		service.NewStringListField(gateFieldGeoProxies).
			Description("Networks of proxies whose header `X-Forwarded-For` is trusted. For all other senders the address "+
				"of the connection counts.").Default([]any{}).Example([]any{"10.0.0.0/8"}),
	).Description("Determines the region of senders by their network address. A request from a refused region is " +
		"answered 451, and nothing of it is kept. Addresses are never kept: accepted events have only the region, as " +
		"`weir_region`.").
		Advanced()
}

// regions configures from which regions events are accepted.
type regions struct {
	path         string
	refuse, only []string
	unknown      bool // unknown regions are refused
	trusted      []netip.Prefix
}

func readRegions(parsed *service.ParsedConfig) (*regions, error) {
	r := &regions{}
	in := func(name string) string { return gateFieldGeo + "." + name }
	known := func(list *[]string) func() error {
		return func() error {
			for _, region := range *list {
				if !geo.IsRegion(region) {
					return fmt.Errorf("%q: expected a region such as US or US-CA", region)
				}
			}
			return nil
		}
	}
	var proxies []string
	err := conf.Read(parsed, in(gateFieldGeoFile), &r.path, in(gateFieldGeoUnknown), &r.unknown,
		in(gateFieldGeoRefuse), conf.Valid(&r.refuse, known(&r.refuse)),
		in(gateFieldGeoOnly), conf.Valid(&r.only, known(&r.only)),
		in(gateFieldGeoProxies), conf.Valid(&proxies, func() error {
			for _, text := range proxies {
				prefix, err := netip.ParsePrefix(text)
				if err != nil {
					return fmt.Errorf("%q: expected a network such as 10.0.0.0/8", text)
				}
				r.trusted = append(r.trusted, prefix.Masked())
			}
			return nil
		}))
	switch {
	case err != nil:
		return nil, err
	case r.path != "":
		return r, nil
	case len(r.refuse)+len(r.only) > 0 || r.unknown:
		return nil, errors.New("geo refuses regions, but has no database to determine them: set geo.file")
	}
	return nil, nil
}

// sender returns the address that a request comes from, as far as it can be trusted: of the peer
// and the addresses in X-Forwarded-For, the last that is no trusted proxy.
func (r *regions) sender(c caller) (netip.Addr, bool) {
	peer, err := netip.ParseAddrPort(c.from)
	if err != nil {
		return netip.Addr{}, false
	}
	at := peer.Addr().Unmap()
	hops := strings.Split(c.forwarded, ",")
	for i := len(hops) - 1; i >= 0 && r.trusts(at); i-- {
		text := strings.TrimSpace(hops[i])
		hop, err := netip.ParseAddr(text)
		if withPort, perr := netip.ParseAddrPort(text); perr == nil {
			hop, err = withPort.Addr(), nil
		}
		if err != nil {
			return at, text == "" // a trusted proxy sent what cannot be parsed
		}
		at = hop.Unmap()
	}
	return at, true
}

func (r *regions) trusts(at netip.Addr) bool {
	at = at.WithZone("")
	return slices.ContainsFunc(r.trusted, func(p netip.Prefix) bool { return p.Contains(at) })
}

// takes tells whether events from a region are accepted; "": the region is not known.
func (r *regions) takes(region string) bool {
	if region == "" {
		return !r.unknown && len(r.only) == 0
	}
	country, _, _ := strings.Cut(region, "-")
	in := func(list []string) bool { return slices.Contains(list, region) || slices.Contains(list, country) }
	return !in(r.refuse) && (len(r.only) == 0 || in(r.only)) && !r.splits(region)
}

// splits tells whether only the country of a region is known, and a part of that country is
// refused: the sender may be there.
func (r *regions) splits(region string) bool {
	within := func(s string) bool { return strings.HasPrefix(s, region+"-") }
	return len(region) == 2 && slices.ContainsFunc(r.refuse, within)
}

// place returns the region of a caller, or a refusal if nothing is accepted from there. It is
// called before anything of a body is read.
func (g *gate) place(c caller) (region string, ref *refusal) {
	if g.conf.regions == nil {
		return "", nil
	}
	if at, ok := g.conf.regions.sender(c); ok {
		var err error
		if region, err = g.geo.Region(at); err != nil {
			if seldom(&g.failureLogged) {
				g.log.Errorf("nothing is taken from some addresses: %v", err) // the message must not contain the address
			}
			return "", &refusal{name: "region-unavailable", status: http.StatusServiceUnavailable,
				title: "Temporarily unavailable", detail: "where you send from cannot be told now", after: 10 * time.Second}
		}
	}
	if !g.conf.regions.takes(region) {
		return region, &refusal{name: "region-refused", status: http.StatusUnavailableForLegalReasons,
			title: "Nothing is taken from this region", detail: "nothing of the request was kept: do not send it again"}
	}
	return region, nil
}

// openGeo opens the database of addresses, if one is configured.
func (g *gate) openGeo() (err error) {
	if g.conf.regions == nil || g.geo != nil {
		return nil
	}
	g.geo, err = geo.Open(g.conf.regions.path, func(err error) {
		if err != nil {
			g.log.Errorf("the last database of addresses stays in force: %v", err)
			return
		}
		g.log.Info("the database of addresses can be read again")
	})
	return err
}
