package etl

import (
	"strings"
	"testing"
)

func TestChanges_AreNamedAndOnlyAdditionsPassByOption(t *testing.T) {
	const text = `{"name": "p", "source": {"type": "parquet", "path": "none"CHANGES},
		"sinks": [{"format": "csv", "url": "file://out", "object": "o.csv"}]}`
	whole := columnType{kind: kindInt64}
	first := []column{{"id", whole}, {"a", columnType{kind: kindText}}}
	for _, c := range []struct {
		now             []column
		option          string
		accept, refused bool
		says            string
	}{
		{now: first},
		{now: []column{first[1], first[0]}},
		{now: append(first[:2:2], column{"b", whole}), refused: true, says: `column "b" (int64) is new`},
		{now: append(first[:2:2], column{"b", whole}), option: "additions", says: `column "b" (int64) is new`},
		{now: append(first[:2:2], column{"b", whole}), accept: true, says: `column "b" (int64) is new`},
		{now: first[:1], option: "additions", refused: true, says: `column "a" (text) is gone`},
		{now: []column{first[0], {"a", whole}, {"b", whole}}, option: "additions", refused: true,
			says: `column "a" was text and is int64; column "b" (int64) is new; take it as it is with --accept-columns`},
		{now: first[:1], accept: true, says: `column "a" (text) is gone`},
	} {
		option := ""
		if c.option != "" {
			option = `, "changes": "` + c.option + `"`
		}
		p, err := loaded(t, map[string]string{"p.json": strings.Replace(text, "CHANGES", option, 1)})
		if err != nil {
			t.Fatal(err)
		}
		o, told := options(t), ""
		p.source = mockSource{first, nil}
		if _, err := p.Run(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		before := contents(t, p)["o.csv"]
		p.source = mockSource{c.now, nil}
		o.Accept, o.Tell = c.accept, func(line string) { told += line + "\n" }
		_, err = p.Run(t.Context(), o)
		if (err != nil) != c.refused || c.refused && (!Final(err) || !strings.Contains(err.Error(), c.says)) ||
			!c.refused && !strings.Contains(told, c.says) || c.says == "" && strings.Contains(told, "not as it was") {
			t.Errorf("%v: %v\n%s", c, err, told)
		}
		if c.refused && contents(t, p)["o.csv"] != before {
			t.Errorf("%v: the sink is another one", c)
		}
		// what was accepted is what the next run expects
		if o.Accept = false; err == nil {
			if _, err := p.Run(t.Context(), o); err != nil {
				t.Errorf("%v: the run after it: %v", c, err)
			}
		}
	}
}
