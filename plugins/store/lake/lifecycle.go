package lake

import (
	"cmp"
	"context"
	"encoding/xml"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Ids of the lifecycle rules that belong to weir; the prefix of the store follows in the id. Rules
// with other ids are not changed.
const (
	ruleUploads   = "weir-unfinished-uploads" // deletes parts of unfinished uploads
	ruleRetention = "weir-retention"          // deletes objects that retention should have deleted
)

// lifecycleSlack is how many days later than retention the bucket's rule deletes objects: it is
// for the case that weir does not run any more.
const lifecycleSlack = 2

// Lifecycle is the outcome of checking the rules.
type Lifecycle string

// The outcomes.
const (
	LifecycleNone        Lifecycle = "none"        // the store is not S3
	LifecycleInPlace     Lifecycle = "in_place"    // the rules are right
	LifecycleWritten     Lifecycle = "written"     // the rules were wrong and have been written
	LifecycleWrong       Lifecycle = "wrong"       // the rules are wrong; a dry run does not change them
	LifecycleUnsupported Lifecycle = "unsupported" // the S3 server does not support such rules
)

// setLifecycle checks the lifecycle rules of the bucket for this store, and writes them if they
// differ: unfinished uploads are deleted after a day, objects lifecycleSlack days after keep. A
// bucket cannot distinguish fleets, so with a hold, or if keep is zero, there is no rule that
// deletes objects. If a rule of somebody else deletes objects too early, it returns an error: weir
// does not change that rule.
func (s *Store) setLifecycle(ctx context.Context, keep time.Duration, held, dry bool) (Lifecycle, error) {
	b, ok := s.backend.(*s3Store)
	if !ok {
		return LifecycleNone, nil
	}
	have, known, err := b.rules(ctx)
	if err != nil {
		return "", fmt.Errorf("reading the lifecycle rules of %s: %w", s.name, err)
	}
	if !known {
		return LifecycleUnsupported, nil
	}
	ours := func(r rule) bool {
		return r.ID == ruleUploads+" "+b.prefix || r.ID == ruleRetention+" "+b.prefix
	}
	others := slices.DeleteFunc(slices.Clone(have), ours)
	foreign := hasty(others, b.prefix, keep, held)
	if foreign != nil {
		foreign = fmt.Errorf("checking the lifecycle rules of %s: %w", s.name, foreign)
	}
	wanted, err := wantedRules(b.prefix, keep, held)
	if err != nil {
		return "", err
	}
	switch {
	case sameRules(slices.DeleteFunc(have, func(r rule) bool { return !ours(r) }), wanted):
		return LifecycleInPlace, foreign
	case dry:
		return LifecycleWrong, foreign
	}
	if err := b.setRules(ctx, append(others, wanted...)); err != nil {
		return "", fmt.Errorf("writing the lifecycle rules of %s: %w", s.name, err)
	}
	return LifecycleWritten, foreign
}

// rule is a lifecycle rule: the elements that weir looks at, and the whole text, because rules of
// others are written back as they were read.
type rule struct {
	ID         string
	Status     string
	Prefix     string // the older form of a filter, which is still valid
	Filter     *ruleFilter
	Expiration *struct {
		Date string
		Days int
	}
	Abort *struct {
		DaysAfterInitiation int
	} `xml:"AbortIncompleteMultipartUpload"`
	Text string `xml:",innerxml"`
}

type ruleFilter struct {
	Prefix string
	Tag    *struct{}
	And    *struct {
		Prefix string
		Tags   []struct{} `xml:"Tag"`
	}
}

func wantedRules(prefix string, keep time.Duration, held bool) ([]rule, error) {
	draft := func(id, below, action string) (r rule, err error) {
		var text strings.Builder
		text.WriteString("<Status>Enabled</Status><ID>")
		failed := xml.EscapeText(&text, []byte(id+" "+prefix))
		text.WriteString("</ID><Filter><Prefix>")
		failed = cmp.Or(failed, xml.EscapeText(&text, []byte(prefix+below)))
		text.WriteString("</Prefix></Filter>" + action)
		return r, cmp.Or(failed, xml.Unmarshal([]byte("<Rule>"+text.String()+"</Rule>"), &r))
	}
	uploads, err := draft(ruleUploads, "", "<AbortIncompleteMultipartUpload><DaysAfterInitiation>1</DaysAfterInitiation>"+
		"</AbortIncompleteMultipartUpload>")
	if err != nil || keep <= 0 || held {
		return []rule{uploads}, err
	}
	days := int((keep+24*time.Hour-1)/(24*time.Hour)) + lifecycleSlack
	expire, err := draft(ruleRetention, datePrefix, fmt.Sprintf("<Expiration><Days>%d</Days></Expiration>", days))
	return []rule{uploads, expire}, err
}

// hasty returns an error if a rule of others deletes objects of this store too early. That may be
// one with rows, one that tells the proof of duplicates, or a tombstone, without which rows of that
// time can be written again.
func hasty(rules []rule, prefix string, keep time.Duration, held bool) error {
	for _, r := range rules {
		below, applies := r.objects()
		ours := func(folder string) bool {
			return strings.HasPrefix(prefix+folder, below) || strings.HasPrefix(below, prefix+folder)
		}
		if r.Status != "Enabled" || r.Expiration == nil || !applies ||
			!slices.ContainsFunc([]string{datePrefix, DuplicatesFolder + "/", erasedFolder + "/"}, ours) {
			continue
		}
		e := r.Expiration
		if e.Date == "" && e.Days == 0 {
			continue // deletes only delete markers
		}
		late := e.Date == "" && time.Duration(e.Days)*24*time.Hour >= keep+24*time.Hour
		if late && keep > 0 && !held {
			continue
		}
		why := "events are to be kept longer"
		if held {
			why = "a fleet is held, of which nothing may be deleted"
		}
		return fmt.Errorf("its rule %q deletes objects below %q, and %s: narrow that rule, or remove it", r.ID, below, why)
	}
	return nil
}

// objects returns the prefix of a rule's objects, and whether the rule applies to objects without
// tags.
func (r rule) objects() (prefix string, untagged bool) {
	switch f := r.Filter; {
	case f == nil:
		return r.Prefix, true
	case f.Tag != nil || f.And != nil && len(f.And.Tags) > 0:
		return "", false
	case f.And != nil:
		return f.And.Prefix, true
	default:
		return f.Prefix, true
	}
}

// sameRules compares rules by their meaning, not their text.
func sameRules(a, b []rule) bool {
	said := func(rules []rule) []rule {
		rules = slices.Clone(rules)
		for i := range rules {
			rules[i].Text = ""
		}
		slices.SortFunc(rules, func(x, y rule) int { return strings.Compare(x.ID, y.ID) })
		return rules
	}
	return reflect.DeepEqual(said(a), said(b))
}
