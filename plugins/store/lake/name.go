package lake

import (
	"crypto/rand"
	"encoding/base32"
	"fmt"
	"path"
	"strings"
	"time"
)

// Folders of a store. Objects with rows are in date=YYYY-MM-DD/, which may have key=value folders.
// Objects that have only coverage are elsewhere, so that globs of other readers over date=* match
// only tables.
const (
	datePrefix       = "date="
	DuplicatesFolder = "_duplicates"
	dateFormat       = time.DateOnly
	extension        = ".parquet"
	nameTime         = "20060102T150405.000000Z"
)

// Name is what the key of an object says, so that most objects need not be opened: when it was
// written, and between which times its rows are.
type Name struct {
	Folder   string // "date=2026-11-21", "date=2026-11-21/stage=raw", "_duplicates/date=2026-11-21"
	Written  time.Time
	Min, Max time.Time // of the rows; UTC, whole microseconds, inclusive
	Unique   string
}

// DateFolder returns the folder for the objects of a day.
func DateFolder(t time.Time) string { return datePrefix + t.UTC().Format(dateFormat) }

// NewName returns a new, unique name for an object that is to be written.
func NewName(folder string, written, minTime, maxTime time.Time) Name {
	var b [10]byte
	_, _ = rand.Read(b[:]) // never fails
	return Name{
		Folder: folder, Written: micros(written), Min: micros(minTime), Max: micros(maxTime),
		Unique: strings.ToLower(base32.StdEncoding.EncodeToString(b[:])),
	}
}

func micros(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

// Path returns the key of the object.
func (n Name) Path() string {
	return fmt.Sprintf("%s/%s_%s_%s_%s%s", n.Folder, n.Written.Format(nameTime),
		n.Min.Format(nameTime), n.Max.Format(nameTime), n.Unique, extension)
}

// parseName parses a key. ok is false if it is not the key of an object by NewName.
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

// date returns the day of the object's folder.
func (n Name) date() (time.Time, bool) {
	_, rest, ok := strings.Cut("/"+n.Folder, "/"+datePrefix)
	day, _, _ := strings.Cut(rest, "/")
	t, err := time.Parse(dateFormat, day)
	return t, ok && err == nil
}

// Tag returns the value of a key=value folder, or "".
func (n Name) Tag(key string) string {
	for _, part := range strings.Split(n.Folder, "/") {
		if v, ok := strings.CutPrefix(part, key+"="); ok {
			return v
		}
	}
	return ""
}

// overlaps reports whether the object can have rows in [from, to). A zero time is no bound.
func (n Name) overlaps(from, to time.Time) bool {
	return (to.IsZero() || n.Min.Before(to)) && (from.IsZero() || !n.Max.Before(micros(from)))
}
