// Package delta reads and writes the log of a Delta Lake table: which Parquet files it has, what
// their columns are, and how far its writers have come. It does not read or write rows.
package delta

import (
	"encoding/json"
	"fmt"
)

// Protocol has the versions and features that readers and writers of a table must support.
type Protocol struct {
	MinReaderVersion int      `json:"minReaderVersion"`
	MinWriterVersion int      `json:"minWriterVersion"`
	ReaderFeatures   []string `json:"readerFeatures,omitempty"`
	WriterFeatures   []string `json:"writerFeatures,omitempty"`
}

// Metadata has the id, the schema, the partitioning and the properties of a table.
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

// Format is the format of the files of a table: Parquet.
type Format struct {
	Provider string            `json:"provider"`
	Options  map[string]string `json:"options"`
}

// Add adds a file to the table.
type Add struct {
	Path             string             `json:"path"` // URL-encoded, relative to the table's folder
	PartitionValues  map[string]*string `json:"partitionValues"`
	Size             int64              `json:"size"`
	ModificationTime int64              `json:"modificationTime"`
	DataChange       bool               `json:"dataChange"`
	Stats            string             `json:"stats,omitempty"`
	Tags             map[string]string  `json:"tags,omitempty"`
	DeletionVector   *Vector            `json:"deletionVector,omitempty"`
}

// Remove removes a file from the table.
type Remove struct {
	Path                 string             `json:"path"`
	DeletionTimestamp    int64              `json:"deletionTimestamp,omitempty"`
	DataChange           bool               `json:"dataChange"`
	ExtendedFileMetadata bool               `json:"extendedFileMetadata,omitempty"`
	PartitionValues      map[string]*string `json:"partitionValues,omitempty"`
	Size                 int64              `json:"size,omitempty"`
	DeletionVector       *Vector            `json:"deletionVector,omitempty"`
}

// Txn records how far a writer has come, by a number of its own.
type Txn struct {
	AppID       string `json:"appId"`
	Version     int64  `json:"version"`
	LastUpdated int64  `json:"lastUpdated,omitempty"`
}

// action is one line of a commit; one of these members is set. Actions of other kinds change no
// rows, unless the protocol names an unknown feature.
type action struct {
	Protocol   *Protocol       `json:"protocol,omitempty"`
	MetaData   *Metadata       `json:"metaData,omitempty"`
	Add        *Add            `json:"add,omitempty"`
	Remove     *Remove         `json:"remove,omitempty"`
	Txn        *Txn            `json:"txn,omitempty"`
	Sidecar    *sidecar        `json:"sidecar,omitempty"` // only in checkpoints
	CommitInfo json.RawMessage `json:"commitInfo,omitempty"`
}

// sidecar names a file with further actions of a checkpoint.
type sidecar struct {
	Path string `json:"path"`
	Size int64  `json:"sizeInBytes"`
}

// Snapshot is a table at one version.
type Snapshot struct {
	Version    int64 // -1: the table does not exist
	Checkpoint int64 // version of the newest checkpoint; -1: there is none
	Protocol   Protocol
	Metadata   Metadata
	Files      map[string]Add    // by Key
	Removed    map[string]Remove // by path and vector, until their records expire
	Txns       map[string]Txn    // by AppID
}

func empty() *Snapshot {
	return &Snapshot{Version: -1, Checkpoint: -1, Files: map[string]Add{}, Removed: map[string]Remove{},
		Txns: map[string]Txn{}}
}

// apply applies an action to the snapshot.
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

// whole returns an error if the protocol or the metadata is missing.
func (s *Snapshot) whole() error {
	if s.Version >= 0 && (s.Metadata.ID == "" || s.Protocol.MinReaderVersion == 0) {
		return fmt.Errorf("version %d of the table has no protocol or no metadata: its log is damaged", s.Version)
	}
	return nil
}
