package overview

import (
	"context"
	_ "embed" // openapi.json
	"net/http"
	"time"

	"weir/internal/control/apikey"
	"weir/internal/platform/httpx"
)

//go:embed openapi.json
var openAPI []byte

// OpenAPI describes the endpoints of the overview, to be merged into the API's document.
func OpenAPI() []byte { return openAPI }

// answerMost is how long an answer waits for its parts; those not ready by then are reported as unknown.
const answerMost = 10 * time.Second

// Handler answers GET /v1/overview for the fleet that apikey.Authenticator determined; a caller of all fleets who
// names none sees all.
func Handler(m *Sampler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/overview", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), answerMost)
		defer cancel()
		httpx.Answer(w, http.StatusOK, m.View(ctx, apikey.FleetFrom(r.Context())))
	})
	return mux
}
