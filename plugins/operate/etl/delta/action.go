// Package delta reads and writes the log of a table of Delta Lake: which files of
// Parquet it has, what their columns are, and which writers it knows. It knows
// nothing of rows.
package delta

import (
	"encoding/json"
	"fmt"
)

// Protocol is what a reader and a writer of a table must know.
type Protocol struct {
	MinReaderVersion int      `json:"minReaderVersion"`
	MinWriterVersion int      `json:"minWriterVersion"`
	ReaderFeatures   []string `json:"readerFeatures,omitempty"`
	WriterFeatures   []string `json:"writerFeatures,omitempty"`
}

// Metadata is what a table is.
type Metadata struct {
	ID               string            `json:"id"`
	Name             string            `json:"name,omitempty"`
	Description      string            `json:"description,omitempty"`
	Format           Format            `json:"format"`
	SchemaString     string            `json:"schemaString"`
	PartitionColumns []string          `json:"partitionColumns"`
	Configuration    map[string]string `json:"configuration"`
	CreatedTime      int64             `json:"createdTime,omitempty"`
}

// Format is how the files of a table are written: as Parquet.
type Format struct {
	Provider string            `json:"provider"`
	Options  map[string]string `json:"options"`
}

// Add says that a file is of the table.
type Add struct {
	Path             string             `json:"path"` // as a URL has it, below the table
	PartitionValues  map[string]*string `json:"partitionValues"`
	Size             int64              `json:"size"`
	ModificationTime int64              `json:"modificationTime"`
	DataChange       bool               `json:"dataChange"`
	Stats            string             `json:"stats,omitempty"`
	Tags             map[string]string  `json:"tags,omitempty"`
	DeletionVector   *Vector            `json:"deletionVector,omitempty"`
}

// Remove says that a file is of the table no more.
type Remove struct {
	Path                 string             `json:"path"`
	DeletionTimestamp    int64              `json:"deletionTimestamp,omitempty"`
	DataChange           bool               `json:"dataChange"`
	ExtendedFileMetadata bool               `json:"extendedFileMetadata,omitempty"`
	PartitionValues      map[string]*string `json:"partitionValues,omitempty"`
	Size                 int64              `json:"size,omitempty"`
	DeletionVector       *Vector            `json:"deletionVector,omitempty"`
}

// Txn is how far a writer has come, by a number of its own.
type Txn struct {
	AppID       string `json:"appId"`
	Version     int64  `json:"version"`
	LastUpdated int64  `json:"lastUpdated,omitempty"`
}

// action is a line of a commit: one of these. Others change no rows, as long as the
// protocol names no feature that is not known.
type action struct {
	Protocol   *Protocol       `json:"protocol,omitempty"`
	MetaData   *Metadata       `json:"metaData,omitempty"`
	Add        *Add            `json:"add,omitempty"`
	Remove     *Remove         `json:"remove,omitempty"`
	Txn        *Txn            `json:"txn,omitempty"`
	Sidecar    *sidecar        `json:"sidecar,omitempty"` // of a checkpoint alone
	CommitInfo json.RawMessage `json:"commitInfo,omitempty"`
}

// sidecar is a file with more of a checkpoint's actions.
type sidecar struct {
	Path string `json:"path"`
	Size int64  `json:"sizeInBytes"`
}

// Snapshot is a table at one version.
type Snapshot struct {
	Version    int64 // -1: there is none
	Checkpoint int64 // the version of the newest one; -1: there is none
	Protocol   Protocol
	Metadata   Metadata
	Files      map[string]Add    // by Key
	Removed    map[string]Remove // by path and vector, as the log keeps them
	Txns       map[string]Txn    // by the writer
}

func empty() *Snapshot {
	return &Snapshot{Version: -1, Checkpoint: -1, Files: map[string]Add{}, Removed: map[string]Remove{},
		Txns: map[string]Txn{}}
}

// apply takes an action into the snapshot.
func (s *Snapshot) apply(a action) error {
	switch {
	case a.Protocol != nil:
		s.Protocol = *a.Protocol
		return s.readable()
	case a.MetaData != nil:
		s.Metadata = *a.MetaData
	case a.Add != nil:
		key := a.Add.Key()
		s.Files[key] = *a.Add
		delete(s.Removed, key)
	case a.Remove != nil:
		key := keyOf(a.Remove.Path, a.Remove.DeletionVector)
		delete(s.Files, key)
		s.Removed[key] = *a.Remove
	case a.Txn != nil:
		s.Txns[a.Txn.AppID] = *a.Txn
	}
	return nil
}

// whole says what a table lacks.
func (s *Snapshot) whole() error {
	if s.Version >= 0 && (s.Metadata.ID == "" || s.Protocol.MinReaderVersion == 0) {
		return fmt.Errorf("version %d of the table has no protocol or no metadata: its log is damaged", s.Version)
	}
	return nil
}
