package rule

import (
	"context"
	"fmt"
	"os"
	"time"

	"weir/internal/platform/live"
)

// rulesFile is the file of rules as it was last right: while it cannot be read or is wrong, the rules stay as they are.
type rulesFile struct {
	*live.Value[[]byte, Set]
}

// openFile reads the file. It fails if the file cannot be read or is wrong.
func openFile(path string) (*rulesFile, error) {
	f := &rulesFile{live.File(path, "rules", func(raw []byte) (*Set, error) {
		set, err := parseKept(raw)
		if err != nil {
			return nil, fmt.Errorf("the rules in %s are wrong: %w", path, err)
		}
		return set, nil
	})}
	_, err := f.Refresh(context.Background())
	return f, err
}

// rightIfThere returns what is wrong with a file of rules. A file that cannot be read is no error, because a config may
// be checked on another machine than it runs on.
func rightIfThere(path string) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	if _, err := parseKept(raw); err != nil {
		return fmt.Errorf("the rules in %s are wrong: %w", path, err)
	}
	return nil
}

// doubt logs what is wrong with a set that is taken up all the same.
func (o *output) doubt(set *Set, what string) {
	if len(set.doubts) > 0 {
		o.log.Warnf("%s runs as it did, and is refused when it is put: mend it: %v", what, &ProblemsError{set.doubts})
	}
}

// fileEvery is how often the file is looked at.
const fileEvery = 2 * time.Second

// followFile takes up changes of the file until ctx ends.
func (o *output) followFile(ctx context.Context) {
	live.Follow(ctx, fileEvery, time.Minute, false, func(ctx context.Context) error {
		changed, err := o.rules.Refresh(ctx)
		if changed {
			o.meters.declare(o.rules.Get())
			o.doubt(o.rules.Get(), "the file of rules")
			o.mu.Lock()
			defer o.mu.Unlock()
			if number := o.force.number; number > 0 {
				o.log.Warnf("the file of rules changed: version %d stays in force", number)
			} else {
				o.log.Infof("took up rules, version %s", o.rules.Get().Version)
			}
		}
		return err
	}, func(err error) {
		if err != nil {
			o.log.Errorf("rules stay as they are: %v", err)
		}
		o.mu.Lock()
		defer o.mu.Unlock()
		o.fileWrong = err != nil
		o.sayValid()
	})
}
