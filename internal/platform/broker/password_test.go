package broker

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir/internal/platform/kafka"
)

// refusal is how long somebody tries who must not get in.
const refusal = time.Second

// enters tries to produce, to read and to administer as somebody.
func enters(t *testing.T, address string, login kafka.Login, within time.Duration) (got []string) {
	t.Helper()
	log, err := kafka.New([]string{address}, nil, login)
	if err != nil {
		t.Fatal(err)
	}
	c, err := kgo.NewClient(append(log.Options("intruder"), kgo.RetryTimeout(within), kgo.RecordRetries(0),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"raw-events": {0: kgo.NewOffset().AtStart()}}))...)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	if c.ProduceSync(ctx, &kgo.Record{Topic: "raw-events", Value: []byte("forged")}).FirstErr() == nil {
		got = append(got, "produced")
	}
	if c.PollFetches(ctx).NumRecords() > 0 {
		got = append(got, "read")
	}
	if _, err := kadm.NewClient(c).ListTopics(ctx); err == nil {
		got = append(got, "listed topics")
	}
	return got
}

func TestPassword_WithoutItNothingIsWrittenOrRead(t *testing.T) {
	b := start(t, t.TempDir(), 1)
	produce(t, b, 1, time.Now())
	for name, login := range map[string]kafka.Login{
		"no login":          {},
		"a wrong password":  Login("another"),
		"another user":      {Mechanism: mechanism, User: "admin", Password: password},
		"kfake's own user":  {Mechanism: "SCRAM-SHA-256", User: "admin", Password: "admin"},
		"another mechanism": {Mechanism: "PLAIN", User: user, Password: password},
	} {
		if got := enters(t, b.Address(), login, refusal); len(got) > 0 {
			t.Errorf("%s: %s", name, strings.Join(got, ", "))
		}
	}
	if got := enters(t, b.Address(), Login(password), time.Minute); len(got) != 3 {
		t.Errorf("with the password: %v only", got)
	}
}

// A log of a broker that had no login, or another one, takes the new one and
// forgets the old.
func TestPassword_EarlierUsersAreForgotten(t *testing.T) {
	dir := t.TempDir()
	open, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.DataDir(dir), kfake.SyncWrites(),
		kfake.SeedTopics(1, "raw-events"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := kgo.NewClient(kgo.SeedBrokers(open.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	user := kmsg.NewPtrAlterUserSCRAMCredentialsRequest()
	up := kmsg.NewAlterUserSCRAMCredentialsRequestUpsertion()
	up.Name, up.Mechanism, up.Iterations, up.Salt, up.SaltedPassword = "left", 2, 4096, []byte("0123456789abcdef"),
		make([]byte, 64)
	user.Upsertions = append(user.Upsertions, up)
	if _, err := user.RequestWith(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if err := c.ProduceSync(t.Context(), &kgo.Record{Topic: "raw-events", Value: []byte("old")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	c.Close()
	open.Close()
	if _, err := os.Stat(filepath.Join(dir, "sasl.json")); err != nil {
		t.Fatalf("the earlier broker left no users to forget: %v", err)
	}
	for _, now := range []string{"first", "second"} {
		b, err := Start(Config{Dir: dir, Address: "127.0.0.1:0", Password: now, Topics: Topics(), MinFree: 1,
			Logger: slog.Default()})
		if err != nil {
			t.Fatal(err)
		}
		if got := enters(t, b.Address(), Login(now), time.Minute); len(got) != 3 {
			t.Errorf("with the password %q: %v only", now, got)
		}
		if got := enters(t, b.Address(), Login("first"), refusal); now != "first" && len(got) > 0 {
			t.Errorf("with an earlier password: %v", got)
		}
		b.Close()
	}
	raw, err := os.ReadFile(filepath.Join(dir, "sasl.json"))
	if err != nil {
		t.Fatal(err)
	}
	var kept struct{ Scram512 map[string]any }
	if err := json.Unmarshal(raw, &kept); err != nil || strings.Contains(string(raw), `"left"`) {
		t.Errorf("users that are kept: %s (%v)", raw, err)
	}
}

func TestPassword_IsNeeded(t *testing.T) {
	b, err := Start(Config{Dir: t.TempDir(), Address: "127.0.0.1:0", Topics: Topics(), Logger: slog.Default()})
	if err == nil {
		b.Close()
		t.Fatal("a broker without a password starts")
	}
}
