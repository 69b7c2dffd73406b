package status

// Stream is a stream of a process as its config defines it: where it reads and writes.
type Stream struct {
	Name    string `json:"name"`
	Input   Port   `json:"input"`
	Outputs []Port `json:"outputs"` // only those that write to something
}

// Port is an input or an output.
type Port struct {
	Path   string   `json:"path"` // as in Flow
	Kind   string   `json:"kind"` // name of the component
	Label  string   `json:"label"`
	Group  string   `json:"group,omitempty"`
	Topics []string `json:"topics,omitempty"`
}
