package lake

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
)

// The lifecycle rules that weir owns in a bucket, by id before the prefix.
// Rules with other ids are nobody's business here.
const (
	ruleUploads   = "weir-unfinished-uploads" // parts of uploads that no one finished
	ruleRetention = "weir-retention"          // objects that retention should long have deleted
)

// lifecycleSlack is how many days later than retention the bucket's own rule
// deletes: it is for the case that weir does not run any more.
const lifecycleSlack = 2

// Lifecycle is what became of the rules.
type Lifecycle string

// The outcomes.
const (
	LifecycleNone        Lifecycle = "none"        // the store is not S3
	LifecycleInPlace     Lifecycle = "in_place"    // the rules were right
	LifecycleWritten     Lifecycle = "written"     // they were not, and are now
	LifecycleWrong       Lifecycle = "wrong"       // they are not; a dry run leaves them
	LifecycleUnsupported Lifecycle = "unsupported" // this S3 server knows no such rules
)

// SetLifecycle checks the bucket's lifecycle rules of this store, and writes
// them where they differ: unfinished uploads go after a day, objects after keep
// and some days. A bucket can't tell fleets apart, so with a hold there is no
// rule that deletes objects; nor is there when keep is zero. A rule of others
// that deletes what is to be kept is an error: it is theirs to change.
func (s *Store) SetLifecycle(ctx context.Context, keep time.Duration, held, dry bool) (Lifecycle, error) {
	b, ok := s.backend.(*bucket)
	var client *s3.Client
	if !ok || !b.As(&client) {
		return LifecycleNone, nil
	}
	name, prefix := b.place()
	have, err := client.GetBucketLifecycleConfiguration(ctx, &s3.GetBucketLifecycleConfigurationInput{Bucket: &name})
	var api smithy.APIError
	switch {
	case err == nil:
	case errors.As(err, &api) && api.ErrorCode() == "NoSuchLifecycleConfiguration":
		have = &s3.GetBucketLifecycleConfigurationOutput{}
	case errors.As(err, &api) && (api.ErrorCode() == "NotImplemented" || api.ErrorCode() == "MethodNotAllowed"):
		return LifecycleUnsupported, nil
	default:
		return "", fmt.Errorf("reading the lifecycle rules of %s: %w", s.name, err)
	}
	rules := slices.DeleteFunc(slices.Clone(have.Rules), func(r types.LifecycleRule) bool {
		id := aws.ToString(r.ID)
		return id == ruleUploads+" "+prefix || id == ruleRetention+" "+prefix
	})
	foreign := hasty(rules, prefix, keep, held)
	if foreign != nil {
		foreign = fmt.Errorf("checking the lifecycle rules of %s: %w", s.name, foreign)
	}
	rules = append(rules, wantedRules(prefix, keep, held)...)
	switch {
	case sameRules(have.Rules, rules):
		return LifecycleInPlace, foreign
	case dry:
		return LifecycleWrong, foreign
	}
	_, err = client.PutBucketLifecycleConfiguration(ctx, &s3.PutBucketLifecycleConfigurationInput{
		Bucket: &name, LifecycleConfiguration: &types.BucketLifecycleConfiguration{Rules: rules},
	})
	if err != nil {
		return "", fmt.Errorf("writing the lifecycle rules of %s: %w", s.name, err)
	}
	return LifecycleWritten, foreign
}

func wantedRules(prefix string, keep time.Duration, held bool) []types.LifecycleRule {
	rule := func(id, below string) types.LifecycleRule {
		return types.LifecycleRule{
			ID: aws.String(id + " " + prefix), Status: types.ExpirationStatusEnabled,
			Filter: &types.LifecycleRuleFilter{Prefix: aws.String(prefix + below)},
		}
	}
	uploads := rule(ruleUploads, "")
	uploads.AbortIncompleteMultipartUpload = &types.AbortIncompleteMultipartUpload{DaysAfterInitiation: aws.Int32(1)}
	rules := []types.LifecycleRule{uploads}
	if keep > 0 && !held {
		expire := rule(ruleRetention, DatePrefix)
		days := int32((keep+24*time.Hour-1)/(24*time.Hour)) + lifecycleSlack
		expire.Expiration = &types.LifecycleExpiration{Days: aws.Int32(days)}
		rules = append(rules, expire)
	}
	return rules
}

// hasty finds a rule of others that deletes objects of ours before their time.
func hasty(rules []types.LifecycleRule, prefix string, keep time.Duration, held bool) error {
	ours := prefix + DatePrefix
	for _, r := range rules {
		below, applies := prefixOf(r)
		if r.Status != types.ExpirationStatusEnabled || r.Expiration == nil || !applies ||
			!strings.HasPrefix(ours, below) && !strings.HasPrefix(below, ours) {
			continue
		}
		days := aws.ToInt32(r.Expiration.Days)
		if r.Expiration.Date == nil && days == 0 {
			continue // of markers only
		}
		late := r.Expiration.Date == nil && time.Duration(days)*24*time.Hour >= keep+24*time.Hour
		if late && keep > 0 && !held {
			continue
		}
		why := "events are to be kept longer"
		if held {
			why = "a fleet is held, of which nothing may be deleted"
		}
		return fmt.Errorf("its rule %q deletes objects below %q, and %s: narrow that rule, or remove it", aws.ToString(r.ID),
			below, why)
	}
	return nil
}

// prefixOf returns the prefix of a rule's objects, and whether it is about
// objects without tags at all.
func prefixOf(r types.LifecycleRule) (prefix string, untagged bool) {
	switch f := r.Filter; {
	case f == nil:
		//lint:ignore SA1019 rules that were written this way are still in force
		return aws.ToString(r.Prefix), true
	case f.Tag != nil || f.And != nil && len(f.And.Tags) > 0:
		return "", false
	case f.And != nil:
		return aws.ToString(f.And.Prefix), true
	default:
		return aws.ToString(f.Prefix), true
	}
}

func sameRules(a, b []types.LifecycleRule) bool {
	byID := func(x, y types.LifecycleRule) int { return strings.Compare(aws.ToString(x.ID), aws.ToString(y.ID)) }
	a, b = slices.Clone(a), slices.Clone(b)
	slices.SortFunc(a, byID)
	slices.SortFunc(b, byID)
	return reflect.DeepEqual(a, b)
}
