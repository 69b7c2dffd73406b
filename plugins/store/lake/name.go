package lake

import (
	"crypto/rand"
	"encoding/base32"
	"fmt"
	"path"
	"strings"
	"time"
)

// Folders of a store. Objects with rows lie in date=YYYY-MM-DD/, perhaps with
// more key=value folders below; objects that only record duplicates lie apart,
// so that other readers' globs over date=* find tables alone.
const (
	datePrefix       = "date="
	DuplicatesFolder = "_duplicates"
	dateFormat       = time.DateOnly
	extension        = ".parquet"
	nameTime         = "20060102T150405.000000Z"
)

// Name is what an object's key says about it, so that most objects need not be
// opened: when it was written, and the span of its rows' times.
type Name struct {
	Folder   string // "date=2026-11-21", "date=2026-11-21/stage=raw", "_duplicates/date=2026-11-21"
	Written  time.Time
	Min, Max time.Time // of the rows, UTC, whole microseconds, inclusive
	Unique   string
}

// DateFolder is the folder of a day's objects.
func DateFolder(t time.Time) string { return datePrefix + t.UTC().Format(dateFormat) }

// NewName names an object that is about to be written.
func NewName(folder string, written, minTime, maxTime time.Time) Name {
	var b [10]byte
	_, _ = rand.Read(b[:]) // never fails
	return Name{
		Folder: folder, Written: micros(written), Min: micros(minTime), Max: micros(maxTime),
		Unique: strings.ToLower(base32.StdEncoding.EncodeToString(b[:])),
	}
}

func micros(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

// Path is the key of the object of that name.
func (n Name) Path() string {
	return fmt.Sprintf("%s/%s_%s_%s_%s%s", n.Folder, n.Written.Format(nameTime),
		n.Min.Format(nameTime), n.Max.Format(nameTime), n.Unique, extension)
}

// parseName reads a key. ok is false for one that is not of an object of ours.
func parseName(key string) (n Name, ok bool) {
	folder, file := path.Split(key)
	stem, ok := strings.CutSuffix(file, extension)
	parts := strings.Split(stem, "_")
	if !ok || len(parts) != 4 || folder == "" {
		return n, false
	}
	n.Folder, n.Unique = strings.TrimSuffix(folder, "/"), parts[3]
	for i, t := range []*time.Time{&n.Written, &n.Min, &n.Max} {
		var err error
		if *t, err = time.Parse(nameTime, parts[i]); err != nil {
			return n, false
		}
	}
	return n, true
}

// date is the day of the object's folder.
func (n Name) date() (time.Time, bool) {
	_, rest, ok := strings.Cut("/"+n.Folder, "/"+datePrefix)
	day, _, _ := strings.Cut(rest, "/")
	t, err := time.Parse(dateFormat, day)
	return t, ok && err == nil
}

// Tag returns the value of a key=value folder, "" when there is none.
func (n Name) Tag(key string) string {
	for _, part := range strings.Split(n.Folder, "/") {
		if v, ok := strings.CutPrefix(part, key+"="); ok {
			return v
		}
	}
	return ""
}

// overlaps tells whether the object can hold a row of [from, to). A zero time
// is no bound.
func (n Name) overlaps(from, to time.Time) bool {
	return (to.IsZero() || n.Min.Before(to)) && (from.IsZero() || !n.Max.Before(micros(from)))
}
