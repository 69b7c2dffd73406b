package delta

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// UnknownError says that the table uses a feature which is not supported: it must not be read, or
// written.
type UnknownError struct{ Feature string }

func (e *UnknownError) Error() string {
	return fmt.Sprintf("the table needs %s, which is not known here", e.Feature)
}

func unknown(feature string) error { return &UnknownError{"the feature " + feature} }

// Features of the protocol that are supported, unless a column or a property of the table uses one
// that Writable refuses.
const (
	featureTimestampNTZ    = "timestampNtz"
	featureColumnMapping   = "columnMapping"
	featureDeletionVectors = "deletionVectors"
	featureV2Checkpoint    = "v2Checkpoint"

	mostReader, featuresReader = 3, 3 // highest version, and the one in which features are named
	mostWriter, featuresWriter = 7, 7
)

func knownByReaders() []string {
	return []string{featureTimestampNTZ, featureColumnMapping, featureDeletionVectors, featureV2Checkpoint}
}

func knownByWriters() []string {
	return append(knownByReaders(), "appendOnly", "invariants", "checkConstraints", "changeDataFeed", "generatedColumns",
		"identityColumns")
}

// readable returns an error that names a feature which keeps the table from being read.
func (s *Snapshot) readable() error {
	p := s.Protocol
	if p.MinReaderVersion > mostReader {
		return &UnknownError{fmt.Sprintf("version %d of the readers' protocol", p.MinReaderVersion)}
	}
	for _, name := range p.ReaderFeatures {
		if p.MinReaderVersion == featuresReader && !slices.Contains(knownByReaders(), name) {
			return unknown(name)
		}
	}
	return nil
}

// Readable returns an error that names a feature which keeps the table from being read.
func (s *Snapshot) Readable() error {
	if s.Metadata.Format.Provider != "parquet" {
		return &UnknownError{"files of " + s.Metadata.Format.Provider}
	}
	if _, err := s.mapping(); err != nil {
		return err
	}
	return s.readable()
}

// mapping returns how columns are found in the files: byName, byID, or "" if the files have the
// names of the schema.
func (s *Snapshot) mapping() (string, error) {
	p, mode := s.Protocol, s.Metadata.Configuration["delta.columnMapping.mode"]
	if p.MinReaderVersion < 2 || p.MinReaderVersion == featuresReader && !slices.Contains(p.ReaderFeatures,
		featureColumnMapping) {
		return "", nil // the property has no effect
	}
	switch mode {
	case "", "none":
		return "", nil
	case byName, byID:
		return mode, nil
	}
	return "", unknown(featureColumnMapping + " by " + mode)
}

const byName, byID = "name", "id"

// Writable returns an error that names a feature which keeps the table from being written to.
// removes tells that the writer also removes rows.
func (s *Snapshot) Writable(removes bool) error {
	if err := s.Readable(); err != nil {
		return err
	}
	mode, err := s.mapping()
	if err != nil {
		return err
	}
	p := s.Protocol
	if p.MinWriterVersion > mostWriter {
		return &UnknownError{fmt.Sprintf("version %d of the writers' protocol", p.MinWriterVersion)}
	}
	for _, name := range p.WriterFeatures {
		if p.MinWriterVersion == featuresWriter && !slices.Contains(knownByWriters(), name) {
			return unknown(name)
		}
	}
	for name, value := range s.Metadata.Configuration {
		switch {
		case strings.HasPrefix(name, "delta.constraints."):
			return unknown("checkConstraints")
		case name == "delta.enableChangeDataFeed" && value == "true":
			return unknown("changeDataFeed")
		case name == "delta.appendOnly" && value == "true" && removes:
			return errors.New("the table is one that is only appended to (delta.appendOnly)")
		}
	}
	fields, err := s.Fields()
	if err != nil {
		return err
	}
	for _, f := range fields {
		for name := range f.Metadata {
			of := map[string]string{"delta.invariants": "invariants", "delta.generationExpression": "generatedColumns",
				"delta.columnMapping.id": featureColumnMapping}[name]
			if strings.HasPrefix(name, "delta.identity.") {
				of = "identityColumns"
			}
			if of == featureColumnMapping && mode != "" {
				of = ""
			}
			if of != "" {
				return &UnknownError{fmt.Sprintf("the feature %s of column %q", of, f.Name)}
			}
		}
	}
	return nil
}

// Field is a column of a table.
type Field struct {
	Name     string         `json:"name"`
	Type     Type           `json:"type"`
	Nullable bool           `json:"nullable"`
	Metadata map[string]any `json:"metadata"`
}

// Type is the name of a primitive type, or, for a nested type, its kind and "<>".
type Type string

// UnmarshalJSON reads a name, or the object of a nested type.
func (t *Type) UnmarshalJSON(raw []byte) error {
	var name string
	if err := json.Unmarshal(raw, &name); err == nil {
		*t = Type(name)
		return nil
	}
	var nested struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(raw, &nested); err != nil {
		return err
	}
	*t = Type(nested.Type + "<>")
	return nil
}

type schema struct {
	Type   string  `json:"type"`
	Fields []Field `json:"fields"`
}

// Fields returns the columns of the table.
func (s *Snapshot) Fields() ([]Field, error) {
	var of schema
	if err := json.Unmarshal([]byte(s.Metadata.SchemaString), &of); err != nil || of.Type != "struct" {
		return nil, errors.New("the schema of the table cannot be read: its log is damaged")
	}
	return of.Fields, nil
}

// Place tells how to find a column in the files.
type Place struct {
	Name string // in the files, in values of partitions and in statistics
	ID   int    // 0: columns are not mapped
	ByID bool   // found by id, whatever its name
}

// Places returns the places of the columns, in the order of fields.
func (s *Snapshot) Places(fields []Field) ([]Place, error) {
	mode, err := s.mapping()
	if err != nil {
		return nil, err
	}
	all := make([]Place, len(fields))
	for i, f := range fields {
		all[i].Name = f.Name
		if mode == "" {
			continue
		}
		name, _ := f.Metadata["delta.columnMapping.physicalName"].(string)
		id, _ := f.Metadata["delta.columnMapping.id"].(float64) // as JSON has numbers
		if all[i] = (Place{name, int(id), mode == byID}); name == "" || id < 1 {
			return nil, fmt.Errorf("column %q has no name or no id for the files: the log is damaged", f.Name)
		}
	}
	return all, nil
}

// timestampNTZ is the type of times without a zone.
const timestampNTZ = "timestamp_ntz"

// New returns the protocol and the metadata of a new table, with the lowest versions that its
// columns need.
func New(id string, fields []Field, partitions []string, now int64) (Protocol, Metadata, error) {
	raw, err := json.Marshal(schema{"struct", fields})
	p := Protocol{MinReaderVersion: 1, MinWriterVersion: 2}
	if slices.ContainsFunc(fields, func(f Field) bool { return f.Type == timestampNTZ }) {
		needs := []string{featureTimestampNTZ}
		p = Protocol{featuresReader, featuresWriter, needs, needs}
	}
	if partitions == nil {
		partitions = []string{}
	}
	return p, Metadata{ID: id, Format: Format{"parquet", map[string]string{}}, SchemaString: string(raw),
		PartitionColumns: partitions, Configuration: map[string]string{}, CreatedTime: now}, err
}
