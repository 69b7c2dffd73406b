package group

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"weir/tests/integration/testbed"
)

func TestGroup_AGroupNamesDevicesOfAQuery(t *testing.T) {
	store, err := Open(t.Context(), testbed.SQLite(t))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	mux := http.NewServeMux()
	mux.Handle("/v1/groups", Handler(store))
	mux.Handle("/v1/groups/", Handler(store))
	mux.Handle("/query", Expanding(store, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got = r.URL.Query()["device"]
		if r.URL.Query().Has("group") || r.URL.Query().Get("metric") != "cpu_temp" {
			t.Errorf("the query became %s", r.URL.RawQuery)
		}
	})))
	ask := func(method, path, body string, want int) string {
		t.Helper()
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body)))
		if w.Code != want {
			t.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
		}
		return w.Body.String()
	}
	ask("PUT", "/v1/groups/press-line", `{"devices":["pump-2","pump-1","pump-2"]}`, 200)
	ask("PUT", "/v1/groups/empty", `{"devices":[]}`, 200)
	ask("PUT", "/v1/groups/bad", `{"devices":["not a device"]}`, 400)
	ask("PUT", "/v1/groups/bad", `[]`, 400)
	if body := ask("GET", "/v1/groups/press-line", "", 200); !strings.Contains(body, `["pump-1","pump-2"]`) {
		t.Fatal(body)
	}
	if body := ask("GET", "/v1/groups", "", 200); strings.Count(body, `"name"`) != 2 {
		t.Fatal(body)
	}
	ask("GET", "/query?metric=cpu_temp&group=press-line&device=pump-9", "", 200)
	if fmt.Sprint(got) != "[pump-9 pump-1 pump-2]" {
		t.Fatal(got)
	}
	ask("GET", "/query?metric=cpu_temp&group=none", "", 404)
	ask("GET", "/query?metric=cpu_temp&group=empty", "", 400)
	ask("DELETE", "/v1/groups/press-line", "", 204)
	ask("DELETE", "/v1/groups/press-line", "", 404)
}

func TestGroups_AreBoundedByFleet(t *testing.T) {
	store, err := Open(t.Context(), testbed.SQLite(t))
	if err != nil {
		t.Fatal(err)
	}
	store = store.Within(Limits{Groups: 2, Devices: 3})
	for _, c := range []struct {
		fleet, name string
		devices     int
		want        error
	}{
		{"a", "1", 3, nil}, {"a", "2", 4, errInvalid}, {"a", "2", 1, nil}, {"a", "3", 1, errFull}, {"a", "2", 2, nil},
		{"b", "3", 1, nil}, {"", "1", 1, nil}, {"", "2", 1, nil}, {"", "3", 1, errFull},
	} {
		var devices []string
		for i := range c.devices {
			devices = append(devices, fmt.Sprint("d", i))
		}
		if _, err := store.Put(t.Context(), Group{Fleet: c.fleet, Name: c.name, Devices: devices}); !errors.Is(err, c.want) {
			t.Errorf("group %s of %q with %d devices: %v, want %v", c.name, c.fleet, c.devices, err, c.want)
		}
	}
	w := httptest.NewRecorder()
	Handler(store).ServeHTTP(w, httptest.NewRequest("PUT", "/v1/groups/3",
		strings.NewReader(`{"fleet":"a","devices":["d"]}`)))
	if w.Code != 409 || !strings.Contains(w.Body.String(), "delete one") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestGroup_AFleetsGroupGoesBeforeTheOneForAll(t *testing.T) {
	store, err := Open(t.Context(), testbed.SQLite(t))
	if err != nil {
		t.Fatal(err)
	}
	for fleet, device := range map[string]string{"": "all", "a": "own", "b": "foreign"} {
		if _, err := store.Put(t.Context(), Group{Name: "g", Fleet: fleet, Devices: []string{device}}); err != nil {
			t.Fatal(err)
		}
	}
	for fleet, want := range map[string]string{"a": "own", "c": "all", "": "all"} {
		g, err := store.Get(t.Context(), fleet, "g")
		if err != nil || g.Devices[0] != want {
			t.Fatal(fleet, g, err)
		}
	}
}
