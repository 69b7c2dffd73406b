package rule

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/sqldb"
)

// noted are the topics that the rules stream reads, with their numbers of partitions; 0 for a topic that does not
// exist. It is empty as long as no stream has written it down.
type noted map[string]int

// against returns the problems of a rule set for a stream that reads these topics: topics that it does not read or
// that do not exist, and joins of topics with different numbers of partitions.
func (s *Set) against(topics noted) (problems []Problem) {
	for _, r := range s.Rules {
		of := topicsOf(r.whereabouts())
		if len(topics) == 0 || of[0] == "" {
			continue
		}
		say := func(format string, args ...any) {
			problems = append(problems, Problem{r.line, r.Name, fmt.Sprintf(format, args...)})
		}
		there := true
		for _, topic := range of {
			partitions, read := topics[topic]
			if there = there && partitions > 0; !read {
				say("the rules stream does not read the topic %s: name it in WEIR_RULES_TOPICS, as in "+
					"WEIR_RULES_TOPICS=raw-events,%s, and start weir again", topic, topic)
			} else if partitions == 0 {
				say("the log has no topic %s: create it, with as many partitions as the topic that it is joined with (weir "+
					"topics create --also %s creates it like raw-events)", topic, topic)
			}
		}
		if there && len(of) == 2 && topics[of[0]] != topics[of[1]] {
			say("%s has %d partitions and %s %d, so that events of one device are not in partitions of the same number: "+
				"make the numbers equal, and give the records of both the key "+
				"device_id", of[0], topics[of[0]], of[1], topics[of[1]])
		}
	}
	return problems
}

// unsaid returns the error of the first topic of the rules about which the log has never given an answer, nil for none.
func (s *Set) unsaid(failed map[string]error) error {
	for _, r := range s.Rules {
		for _, topic := range topicsOf(r.whereabouts()) {
			if err := failed[topic]; err != nil {
				return err
			}
		}
	}
	return nil
}

// readNoted reads the topics that the stream wrote down.
func readNoted(ctx context.Context, db *sqldb.DB) (noted, error) {
	rows, err := db.QueryContext(ctx, `SELECT topic, partitions FROM rule_topic`)
	if err != nil {
		return nil, fmt.Errorf("reading which topics rules are evaluated on: %w", err)
	}
	found := noted{}
	for rows.Next() {
		var topic string
		var n int
		if err = rows.Scan(&topic, &n); err != nil {
			break
		}
		found[topic] = n
	}
	if err = errors.Join(err, rows.Err(), rows.Close()); err != nil {
		return nil, fmt.Errorf("reading which topics rules are evaluated on: %w", err)
	}
	return found, nil
}

// fit fails with a *ProblemsError when the stream cannot evaluate a rule set because of its topics.
func (v *Versions) fit(ctx context.Context, set *Set) error {
	if set.by == nil {
		return nil
	}
	topics, err := readNoted(ctx, v.db)
	if err != nil {
		return err
	}
	if problems := set.against(topics); len(problems) > 0 {
		return &ProblemsError{problems}
	}
	return nil
}

// fitting is fit for a stored version. A version that this weir cannot parse passes.
func (v *Versions) fitting(ctx context.Context, number int64) error {
	kept, err := v.Get(ctx, number)
	if err != nil {
		return err
	}
	set, err := parseKept([]byte(kept.Text))
	if err != nil {
		return nil // put by a newer weir: a process that cannot evaluate it reports that
	}
	return v.fit(ctx, set)
}

// noteEvery is how often the stream asks the log about its topics. An answer is used for twice as long.
const noteEvery = time.Minute

// problemAge is how old an answer may be by which rules do not fit the topics: somebody may have mended them.
const problemAge = 15 * time.Second

// errUnasked says that the log has to be asked about the topics first, by noteTopics, which must not hold mu while the
// brokers answer.
var errUnasked = errors.New("the log was not asked about the topics of rules lately")

// answered runs do, which takes the locks that it needs, and runs it again after asking the log if it fails with
// errUnasked.
func (o *output) answered(ctx context.Context, do func() error) error {
	err := do()
	for tries := 0; errors.Is(err, errUnasked) && tries < 3; tries++ {
		if err = o.noteTopics(ctx); err == nil {
			err = do()
		}
	}
	return err
}

// askTopics asks the log how many partitions the topics have that the stream reads. Of those in failed it did not say
// it now, because a broker fails or access is denied: that does not mean that such a topic does not exist.
func (o *output) askTopics(ctx context.Context, admin *kadm.Client) (topics noted, failed map[string]error, err error) {
	topics, failed = noted{}, map[string]error{}
	for _, name := range o.topics { // one by one: access denied to one fails a question about several
		details, err := admin.ListTopics(ctx, name)
		of, there := details[name]
		var denied *kadm.AuthError
		switch {
		case err != nil && !errors.As(err, &denied):
			return nil, nil, fmt.Errorf("asking the log about the topics of rules: %w", o.cluster.Explain(err))
		case err == nil && (!there || errors.Is(of.Err, kerr.UnknownTopicOrPartition) ||
			errors.Is(of.Err, kerr.InvalidTopicException)):
			topics[name] = 0
		case err != nil || of.Err != nil:
			failed[name] = fmt.Errorf("asking the log about the topic %s of rules: %w", name,
				o.cluster.Explain(cmp.Or(err, of.Err)))
		default:
			topics[name] = len(of.Partitions)
		}
	}
	return topics, failed, nil
}

// noteTopics asks the log about the topics that the stream reads, and stores the answer, by which rule sets are
// checked when they are put. For a topic about which the log gives no answer now, its last answer is kept. It holds mu
// only before the log is asked, and after it has answered.
func (o *output) noteTopics(ctx context.Context) error {
	o.mu.Lock()
	admin := o.admin
	o.mu.Unlock()
	if admin == nil {
		return service.ErrNotConnected
	}
	asked := time.Now()
	topics, failed, err := o.askTopics(ctx, admin)
	if err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.db == nil {
		return service.ErrNotConnected
	}
	if asked.Before(o.notedAt) {
		return nil // somebody who asked later was quicker
	}
	was, err := readNoted(ctx, o.db)
	if err != nil {
		return err
	}
	for name, err := range failed {
		o.late.Note("topic "+name, err.Error())
		if n, known := was[name]; known {
			topics[name] = n
			delete(failed, name)
		}
	}
	if !maps.Equal(was, topics) {
		if err := o.storeTopics(ctx, topics); err != nil {
			return fmt.Errorf("noting the topics of rules: %w", err)
		}
	}
	o.noted, o.unsaid, o.notedAt = topics, failed, asked
	return nil
}

func (o *output) storeTopics(ctx context.Context, topics noted) error {
	return tombstone.Update(ctx, o.db, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM rule_topic`); err != nil {
			return err
		}
		for _, name := range o.topics {
			if _, err := tx.ExecContext(ctx, `INSERT INTO rule_topic (topic, partitions) VALUES ($1, $2)
				ON CONFLICT (topic) DO UPDATE SET partitions = excluded.partitions`, name, topics[name]); err != nil {
				return err
			}
		}
		return nil
	})
}

// tendTopics calls noteTopics at intervals until the context ends.
func (o *output) tendTopics(ctx context.Context) {
	tick := time.NewTicker(noteEvery)
	defer tick.Stop()
	for {
		if err := o.noteTopics(ctx); err != nil && ctx.Err() == nil {
			o.late.Note("topics", err.Error())
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// fits fails while this stream cannot evaluate the active rules because of its topics: a join would miss partners
// silently. Until that is corrected, events wait in the log. It goes by what noteTopics was answered last, and fails
// with errUnasked if that is too old. The caller holds mu.
func (o *output) fits(set *Set) error {
	sets := []*Set{set}
	if o.canary != nil {
		sets = append(sets, o.canary.set)
	}
	if len(o.topics) == 0 || o.admin == nil ||
		!slices.ContainsFunc(sets, func(s *Set) bool { return s.by != nil }) {
		return nil
	}
	age := time.Since(o.notedAt)
	if age > 2*noteEvery {
		return errUnasked
	}
	if slices.Equal(o.fitted, sets) && o.fittedAt.Equal(o.notedAt) {
		return nil
	}
	for _, s := range sets {
		err := s.unsaid(o.unsaid)
		if problems := s.against(o.noted); err == nil && len(problems) > 0 {
			err = &ProblemsError{problems}
		}
		switch {
		case err != nil && age > problemAge:
			return errUnasked
		case err != nil:
			return fmt.Errorf("evaluating rules: events wait in the log until this is corrected: %w", err)
		}
	}
	o.fitted, o.fittedAt = sets, o.notedAt
	return nil
}

// topicList splits items that hold several names, separated by commas, and removes repeated names.
func topicList(list []string) (topics []string) {
	for _, item := range list {
		for topic := range strings.SplitSeq(item, ",") {
			if topic = strings.TrimSpace(topic); topic != "" && !slices.Contains(topics, topic) {
				topics = append(topics, topic)
			}
		}
	}
	return topics
}
