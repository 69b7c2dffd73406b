package conf

import (
	"strings"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
)

func spec() *service.ConfigSpec {
	return service.NewConfigSpec().Fields(
		service.NewStringField("url"), service.NewBoolField("on").Default(true), service.NewIntField("count").Default(3),
		service.NewFloatField("part").Default(0.5), service.NewDurationField("wait").Default("2s"),
		service.NewStringListField("names").Default([]any{}), service.NewStringMapField("labels").Default(map[string]any{}),
		service.NewInterpolatedStringField("key").Default(""), service.NewFloatField("above").Optional(),
		service.NewObjectField("sasl", service.NewStringField("user").Default("weir")),
		service.NewStringField("room").Default("64KiB"),
		service.NewStringField("zone").Optional(), service.NewDurationField("max").Optional(),
		service.NewIntField("most").Optional(),
	)
}

func TestConf_EachKindOfFieldIsRead(t *testing.T) {
	parsed, err := spec().ParseYAML("{url: u, count: 7, names: [a, b], labels: {x: y}, key: '${! 1+1 }', above: 1.5, "+
		"most: 9}", nil)
	if err != nil {
		t.Fatal(err)
	}
	var url string
	var on bool
	var count int
	var long int64
	var part float64
	var wait time.Duration
	var names []string
	var labels map[string]string
	var key *service.InterpolatedString
	var above *float64
	var zone *string
	var most *int
	var longest *time.Duration
	if err := Read(parsed, "url", &url, "on", &on, "count", &count, "count", &long, "part", &part, "wait", &wait, "names",
		&names,
		"labels", &labels, "key", &key, "above", &above, "zone", &zone, "most", &most, "max", &longest); err != nil {
		t.Fatal(err)
	}
	var user string
	if err := Read(parsed, "sasl.user", &user); err != nil || user != "weir" {
		t.Errorf("a field of an object: %q, %v", user, err)
	}
	var bytes int
	if err := Read(parsed, "room", Size(&bytes, 1, 1<<20)); err != nil || bytes != 64<<10 {
		t.Errorf("a size: %d, %v", bytes, err)
	}
	for _, bad := range []any{Size(&bytes, 1, 1<<10), Size(&bytes, 1<<20, 1<<30)} {
		if err := Read(parsed, "room", bad); err == nil || !strings.Contains(err.Error(), "expected ") {
			t.Error("a size out of bounds:", err)
		}
	}
	if url != "u" || !on || count != 7 || long != 7 || part != 0.5 || wait != 2*time.Second || len(names) != 2 ||
		labels["x"] != "y" ||
		above == nil || *above != 1.5 || zone != nil || most == nil || *most != 9 || longest != nil {
		t.Error(url, on, count, long, part, wait, names, labels, above, zone, most, longest)
	}
	if got, err := key.TryString(service.NewMessage(nil)); err != nil || got != "2" {
		t.Errorf("the interpolated string is %q, %v", got, err)
	}
}

func TestConf_ErrorsNameTheField(t *testing.T) {
	parsed, err := spec().ParseYAML("{url: u, wait: soon}", nil)
	if err != nil {
		t.Fatal(err)
	}
	var wait time.Duration
	var odd struct{}
	for want, err := range map[string]error{
		"field wait":  Read(parsed, "wait", &wait),
		"field other": Read(parsed, "other", &wait),
		"struct {}":   Read(parsed, "url", &odd),
		"do not pair": Read(parsed, "url"),
		"no field":    Read(parsed, 1, &wait),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q in it", err, want)
		}
	}
}

func TestConf_BoundsAreOfTheValue(t *testing.T) {
	parsed, err := spec().ParseYAML("{url: u, count: 0, part: -1, wait: 0s, most: 7}", nil)
	if err != nil {
		t.Fatal(err)
	}
	var count, again int
	var part float64
	var wait, zero time.Duration
	err = Read(parsed, "count", Positive(&count), "part", NotNegative(&part), "wait", Positive(&wait), "wait",
		NotNegative(&zero),
		"count", Between(&again, 0, 5))
	want := "reading field count: expected more than zero\nreading field part: expected zero or more\nreading field " +
		"wait: expected more than zero"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if err := Read(parsed, "most", Between(&again, 1, 5)); err == nil || !strings.Contains(err.Error(),
		"expected 1 to 5") {
		t.Error(err)
	}
}

func TestConf_ABatchPolicyIsOfNumbersThatItTakes(t *testing.T) {
	spec := service.NewConfigSpec().Field(service.NewBatchPolicyField("batching"))
	for config, part := range map[string]string{
		"{}": "", "{batching: {count: 5, period: 2s}}": "",
		"{batching: {count: -1}}": "count", "{batching: {byte_size: -1}}": "byte_size",
		"{batching: {period: -1s}}": "period", "{batching: {period: soon}}": "period",
	} {
		parsed, err := spec.ParseYAML(config, nil)
		if err != nil {
			t.Fatal(err)
		}
		var policy service.BatchPolicy
		err = Read(parsed, "batching", &policy)
		says := "reading field batching: " + part + ": "
		if (err != nil) != (part != "") || err != nil && !strings.HasPrefix(err.Error(), says) {
			t.Errorf("%s: %v", config, err)
		}
	}
}

func TestConf_AURLIsOfItsSchemesAndNeverShown(t *testing.T) {
	for text, ok := range map[string][2]bool{ // for URL, and MaybeURL
		"file:///a": {true, true}, "s3://b?c=d": {true, true}, "": {false, true}, "fiel:///secret": {}, "/secret": {},
		"FILE:///secret": {}, "file:/secret": {},
	} {
		parsed, err := spec().ParseYAML("{url: '"+text+"'}", nil)
		if err != nil {
			t.Fatal(err)
		}
		var at string
		for i, to := range []any{URL(&at, "file", "s3"), MaybeURL(&at, "file", "s3")} {
			err := Read(parsed, "url", to)
			if (err == nil) != ok[i] || err == nil && at != text || err != nil && (strings.Contains(err.Error(), "secret") ||
				!strings.Contains(err.Error(), "reading field url: expected a URL that begins with file://, s3://")) {
				t.Errorf("%q: %q, %v", text, at, err)
			}
		}
	}
}
