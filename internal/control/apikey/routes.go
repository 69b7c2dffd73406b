package apikey

import "strings"

// Server is a listener that asks for keys.
type Server string

// The servers.
const (
	Gate Server = "gate" // accepts events
	API  Server = "api"  // answers queries and administration
)

// Reach says how a key's device prefix restricts an endpoint.
type Reach int

// The kinds of Reach.
const (
	WholeFleet Reach = iota // concerns more than single devices: a key with a prefix is refused
	NoDevices               // reveals nothing about devices
	ByPath                  // the device is the path parameter {id}
	ByQuery                 // parameters device: a key with a prefix names at least one, and no group
	ByHandler               // the handler checks each device
)

// Route is an endpoint and what it requires of a key.
type Route struct {
	Server Server
	Method string // HTTP method, "" for any; "gRPC"
	Path   string // pattern of http.ServeMux; for gRPC the full method
	Scope  Scope
	Reach  Reach
	// Also admits people with one of these roles who do not have the scope.
	Also []Role
	// Unnamed allows callers of all fleets to name none, which means all of them.
	Unnamed bool
	// Heavy marks a query whose concurrency is limited.
	Heavy bool
}

// Pattern returns the route as a pattern of http.ServeMux.
func (r Route) Pattern() string { return strings.TrimSpace(r.Method + " " + r.Path) }

// Acts tells whether requests to the route are recorded in the audit log.
func (r Route) Acts() bool {
	return r.Method != "GET" && (r.Scope == Operate || r.Scope == Admin)
}

// Routes is the only table of endpoints and of what each requires.
func Routes() []Route {
	admin := func(method, path string) Route {
		return Route{Server: API, Method: method, Path: path, Scope: Admin, Unnamed: true}
	}
	sums, privacy := []Role{Viewer}, []Role{PrivacyOfficer}
	officer := func(method, path string) Route {
		r := admin(method, path)
		r.Also = privacy
		return r
	}
	open := func(server Server, path string) Route {
		return Route{Server: server, Method: "GET", Path: path, Scope: Anyone, Reach: NoDevices}
	}
	registry := func(method, path string) Route {
		return Route{Server: API, Method: method, Path: "/registry/" + path, Scope: AnyKey, Reach: NoDevices, Unnamed: true}
	}
	return []Route{
		{Server: Gate, Method: "POST", Path: "/v1/events", Scope: Ingest, Reach: ByHandler}, // JSON, NDJSON, CloudEvents
		{Server: Gate, Method: "GET", Path: "/v1/stream", Scope: Ingest, Reach: ByHandler},  // WebSocket
		{Server: Gate, Method: "gRPC", Path: "/weir.v1.Ingest/Publish", Scope: Ingest, Reach: ByHandler},
		{Server: Gate, Method: "gRPC", Path: "/weir.v1.Ingest/PublishStream", Scope: Ingest, Reach: ByHandler},
		open(Gate, "/openapi.json"),
		open(Gate, "/healthz"),
		open(Gate, "/ready"),

		{Server: API, Method: "GET", Path: "/v1/me", Scope: AnyKey, Reach: NoDevices, Unnamed: true},
		{Server: API, Method: "GET", Path: "/v1/overview", Scope: Query, Also: sums, Unnamed: true},
		{Server: API, Method: "GET", Path: "/v1/live", Scope: Query, Also: sums, Unnamed: true}, // an unending response
		{Server: API, Method: "GET", Path: "/v1/proof", Scope: Query, Also: sums, Unnamed: true},
		{Server: API, Method: "GET", Path: "/v1/proof/history", Scope: Query, Also: sums, Unnamed: true},
		{Server: API, Method: "GET", Path: "/v1/proof/hours", Scope: Query, Also: sums, Unnamed: true},
		{Server: API, Method: "POST", Path: "/v1/proof", Scope: Operate, Unnamed: true},
		{Server: API, Method: "GET", Path: "/v1/rollups", Scope: Query, Also: sums, Reach: ByQuery, Heavy: true},
		{Server: API, Method: "GET", Path: "/v1/devices", Scope: Query, Also: sums, Reach: ByHandler, Unnamed: true},
		{Server: API, Method: "GET", Path: "/v1/devices/{id}/latest", Scope: Query, Also: sums, Reach: ByPath},
		{Server: API, Method: "GET", Path: "/v1/events", Scope: Query, Reach: ByQuery, Heavy: true},
		{Server: API, Method: "GET", Path: "/v1/events/{id}/lineage", Scope: Query, Reach: ByQuery, Heavy: true},
		{Server: API, Method: "GET", Path: "/v1/dead-letters", Scope: Query, Unnamed: true, Heavy: true},
		{Server: API, Method: "GET", Path: "/v1/dead-letters/{id}", Scope: Query, Unnamed: true, Heavy: true},
		{Server: API, Method: "GET", Path: "/v1/dead-letters/{id}/original", Scope: Query, Unnamed: true, Heavy: true},
		{Server: API, Method: "POST", Path: "/v1/dead-letters/{id}/discard", Scope: Operate, Unnamed: true, Heavy: true},
		{Server: API, Method: "POST", Path: "/v1/dead-letters/{id}/release", Scope: Operate, Unnamed: true, Heavy: true},
		{Server: API, Method: "POST", Path: "/v1/dead-letters/dry-run", Scope: Operate, Unnamed: true, Heavy: true},
		{Server: API, Method: "POST", Path: "/v1/schemas/dry-run", Scope: Query, Unnamed: true, Heavy: true},
		{Server: API, Method: "GET", Path: "/v1/alerts", Scope: Query, Also: sums, Reach: ByHandler, Unnamed: true},
		{Server: API, Method: "GET", Path: "/v1/alerts/{id}", Scope: Query, Also: sums, Reach: ByHandler, Unnamed: true},
		{Server: API, Method: "POST", Path: "/v1/alerts/{id}/acknowledge", Scope: Operate, Reach: ByHandler, Unnamed: true},
		{Server: API, Method: "POST", Path: "/v1/alerts/{id}/resolve", Scope: Operate, Reach: ByHandler, Unnamed: true},
		{Server: API, Method: "GET", Path: "/v1/quality", Scope: Query, Also: sums, Heavy: true},
		{Server: API, Method: "GET", Path: "/v1/rules/{name}/results", Scope: Query, Reach: ByQuery, Heavy: true},
		{Server: API, Method: "GET", Path: "/v1/analytics/events", Scope: Query, Also: sums, Heavy: true},
		{Server: API, Method: "GET", Path: "/v1/analytics/users", Scope: Query, Also: sums, Heavy: true},
		{Server: API, Method: "GET", Path: "/v1/analytics/sessions", Scope: Query, Also: sums, Heavy: true},
		{Server: API, Method: "GET", Path: "/v1/analytics/funnels/{name}", Scope: Query, Also: sums, Heavy: true},
		{Server: API, Method: "GET", Path: "/v1/analytics/revenue", Scope: Query, Also: sums, Heavy: true},
		{Server: API, Method: "GET", Path: "/v1/analytics/attribution", Scope: Query, Also: sums, Heavy: true},
		{Server: API, Method: "GET", Path: "/v1/rules/{name}/results/{id}/events", Scope: Query, Reach: ByQuery, Heavy: true},
		{Server: API, Method: "GET", Path: "/v1/blocks", Scope: Operate},
		{Server: API, Method: "PUT", Path: "/v1/blocks", Scope: Operate},
		{Server: API, Method: "DELETE", Path: "/v1/blocks", Scope: Operate},
		{Server: API, Method: "GET", Path: "/v1/consent", Scope: Operate, Also: privacy},
		{Server: API, Method: "PUT", Path: "/v1/consent", Scope: Operate, Also: privacy},
		{Server: API, Method: "GET", Path: "/v1/identity", Scope: Operate, Also: privacy},
		{Server: API, Method: "PUT", Path: "/v1/identity", Scope: Operate, Also: privacy},
		{Server: API, Method: "GET", Path: "/v1/identity/changes", Scope: Operate, Also: privacy},
		{Server: API, Method: "GET", Path: "/v1/groups", Scope: Query, Also: sums, Unnamed: true},
		{Server: API, Method: "GET", Path: "/v1/groups/{name}", Scope: Query, Also: sums, Unnamed: true},

		admin("GET", "/v1/topology"),
		admin("GET", "/v1/rule-versions"),
		admin("POST", "/v1/rule-versions"),
		admin("POST", "/v1/rule-versions/rollback"),
		admin("GET", "/v1/rule-versions/{version}"),
		admin("POST", "/v1/rule-versions/{version}/activate"),
		admin("GET", "/v1/stream-configs"),
		admin("GET", "/v1/stream-configs/{stream}/{version}"),
		admin("POST", "/v1/stream-configs/{stream}/{version}/activate"),
		admin("POST", "/v1/stream-configs/{stream}/rollback"),
		admin("GET", "/v1/etl/runs"),
		admin("GET", "/v1/etl/runs/{pipeline}/{run}"),
		admin("PUT", "/v1/groups/{name}"),
		admin("DELETE", "/v1/groups/{name}"),
		admin("GET", "/v1/keys"),
		admin("POST", "/v1/keys"),
		admin("POST", "/v1/keys/rotate"),
		admin("GET", "/v1/keys/{id}"),
		admin("DELETE", "/v1/keys/{id}"),
		admin("GET", "/v1/replays"),
		admin("POST", "/v1/replays"),
		admin("POST", "/v1/replays/estimate"),
		admin("GET", "/v1/replays/{id}"),
		admin("POST", "/v1/replays/{id}/pause"),
		admin("POST", "/v1/replays/{id}/resume"),
		admin("POST", "/v1/replays/{id}/cancel"),
		officer("GET", "/v1/erasures"),
		officer("POST", "/v1/erasures"),
		officer("GET", "/v1/erasures/{id}"),
		officer("GET", "/v1/holds"),
		officer("PUT", "/v1/holds/{fleet}"),
		officer("GET", "/v1/holds/{fleet}"),
		officer("DELETE", "/v1/holds/{fleet}"),
		officer("GET", "/v1/retention"),
		officer("GET", "/v1/audit"),

		registry("GET", ""),
		registry("POST", "subjects/{subject}"), // a lookup
		registry("POST", "compatibility/subjects/{subject}/versions"),
		registry("POST", "compatibility/subjects/{subject}/versions/{version}"),
		admin("", "/registry/"), // everything else of the registry

		open(API, "/openapi.json"),
		open(API, "/healthz"),
	}
}

// ScopeOf returns the scope that a route of the table requires, or Admin when the table has no such route.
func ScopeOf(server Server, method, path string) Scope {
	for _, r := range Routes() {
		if r.Server == server && r.Method == method && r.Path == path {
			return r.Scope
		}
	}
	return Admin
}
