package hold

import (
	"net/http/httptest"
	"strings"
	"testing"
)

func TestAnswer_ShowsReasonsAsTheyWereWritten(t *testing.T) {
	w := httptest.NewRecorder()
	answer(w, Hold{Fleet: "acme", Reason: "cases < 4711 & later"}, nil)
	if !strings.Contains(w.Body.String(), "cases < 4711 & later") {
		t.Error(w.Body)
	}
}
