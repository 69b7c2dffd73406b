package plugins

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
	urfave "github.com/urfave/cli/v2"

	"weir/internal/cli"
	"weir/internal/lifecycle"
	"weir/internal/lifecycle/expire"
	"weir/internal/platform/sqldb"
	"weir/plugins/operate/erasure"
	"weir/plugins/operate/retention"
	"weir/plugins/store/lake"
)

// toys is a store of toys: all that a room declares for one.
func toys() lifecycle.Kind {
	return lifecycle.Rows{Name: "toys", Tables: []string{"toy"},
		Keep: lifecycle.Keep{Place: lifecycle.Control, Field: "keep_toys", Default: "1h",
			Description: "How long toys are kept."},
		Prepare: func(ctx context.Context, db *sqldb.DB) error {
			_, err := db.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS toy (id BIGINT PRIMARY KEY, fleet TEXT NOT NULL, at BIGINT NOT NULL)`)
			return err
		},
		Expire: func(ctx context.Context, db *sqldb.DB, p expire.Pass, before time.Time) (expire.Removed, error) {
			return expire.Rows{Table: "toy", Key: "id", Old: "at < $1", Fleet: "fleet"}.Expire(ctx, db, p, before)
		},
		Count: func(ctx context.Context, db *sqldb.DB, fleet, _ string) (map[string]int64, error) {
			n := int64(0)
			err := db.QueryRowContext(ctx, `SELECT count(*) FROM toy WHERE fleet = $1`, fleet).Scan(&n)
			return map[string]int64{"toys": n}, err
		},
	}.Kind()
}

// A store is known to retention, to erasures and to `weir retention` by one line
// of the list.
func TestStores_OneMoreIsOneLine(t *testing.T) {
	list := append(stores(), toys())
	env := service.NewEnvironment()
	must(t, register(env, []room{
		{"retention", func(env *service.Environment) error { return retention.Register(env, list) }},
		{"erasure", func(env *service.Environment) error { return erasure.Register(env, list) }},
	}))
	dir := t.TempDir()
	db, err := sqldb.Open(t.Context(), "sqlite://"+dir+"/control.db")
	must(t, err)
	t.Cleanup(func() { _ = db.Close() })
	urls := fmt.Sprintf("raw: {url: %q}, dead_letters: {url: %q}, rollups: {url: 'sqlite://%[3]s/rollups.db'}, "+
		"control: {url: 'sqlite://%[3]s/control.db', keep_toys: 2h}",
		lake.FileURL(dir+"/raw"), lake.FileURL(dir+"/dead"), dir)

	must(t, os.WriteFile(dir+"/retention.yaml", []byte("pipeline: {processors: [{retention: {"+urls+"}}]}"), 0o600))
	out := asked(t, env, "retention", "--dry-run", "--config", dir+"/retention.yaml", "--data", dir)
	if !strings.Contains(out, "toys") {
		t.Fatalf("weir retention does not know it:\n%s", out)
	}
	now := time.Now()
	_, err = db.ExecContext(t.Context(), `INSERT INTO toy VALUES (1, 'acme', $1), (2, 'acme', $2)`,
		now.Add(-3*time.Hour).UnixMicro(), now.UnixMicro())
	must(t, err)
	if r, err := maintained(t, env, urls); err != nil || of(t, r, "toys").Rows != 1 {
		t.Fatalf("retention: %+v, %v", r, err)
	}

	erasures, err := erasure.OpenStore(t.Context(), db)
	must(t, err)
	e, err := erasures.Create(t.Context(), erasure.Spec{Fleet: "acme", WholeFleet: true, Reason: "why", DryRun: true}, "k",
		time.Hour)
	must(t, err)
	run(t, env, fmt.Sprintf("erasure_jobs: {raw: %q, dead_letter: %q, rollups: 'sqlite://%[3]s/rollups.db', control: "+
		"'sqlite://%[3]s/control.db'}",
		lake.FileURL(dir+"/raw"), lake.FileURL(dir+"/dead"), dir), func() bool {
		e, err = erasures.Get(t.Context(), e.ID)
		return err != nil || e.State.Ended()
	})
	if err != nil || e.Erased["toys"] != 1 {
		t.Fatalf("an erasure counted %v, %v", e.Erased, err)
	}
}

// run runs an input until something has happened.
func run(t *testing.T, env *service.Environment, input string, happened func() bool) {
	t.Helper()
	b := env.NewStreamBuilder()
	must(t, b.AddInputYAML(input))
	must(t, b.AddOutputYAML("drop: {}"))
	must(t, b.SetLoggerYAML("level: OFF"))
	stream, err := b.Build()
	must(t, err)
	done := make(chan error, 1)
	go func() { done <- stream.Run(context.Background()) }()
	for deadline := time.Now().Add(time.Minute); !happened(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Error("nothing happened for a minute")
			break
		}
	}
	must(t, stream.StopWithin(20*time.Second))
	<-done
}

// asked runs `weir retention` on an engine with the environment's components.
func asked(t *testing.T, env *service.Environment, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	engine := func(ctx context.Context, args []string, _ ...service.CLIOptFunc) (int, error) {
		raw, err := os.ReadFile(args[len(args)-1])
		if err != nil {
			return 1, err
		}
		b := env.NewStreamBuilder()
		if err := b.SetYAML(string(raw)); err != nil {
			return 1, err
		}
		stream, err := b.Build()
		if err != nil {
			return 1, err
		}
		return 0, stream.Run(ctx)
	}
	app := &urfave.App{Commands: []*urfave.Command{cli.Retention(fstest.MapFS{}, engine)}, Writer: &out,
		ErrWriter: io.Discard}
	must(t, app.RunContext(t.Context(), append([]string{"weir"}, args...)))
	return out.String()
}

// A component is its folder and one line of the list.
func TestRegister_OneMoreRoomIsOneLine(t *testing.T) {
	env := service.NewEnvironment()
	shout := func(env *service.Environment) error {
		return env.RegisterProcessor("shout", service.NewConfigSpec(),
			func(*service.ParsedConfig, *service.Resources) (service.Processor, error) {
				return nil, nil
			})
	}
	must(t, register(env, append(rooms(), room{"shout", shout})))
	found := false
	env.WalkProcessors(func(name string, _ *service.ConfigView) { found = found || name == "shout" })
	if !found {
		t.Fatal("the component is not registered")
	}
	if err := register(env, []room{{"twice", func(*service.Environment) error {
		return fmt.Errorf("no")
	}}}); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Fatalf("a room that cannot be registered is not named: %v", err)
	}
}
