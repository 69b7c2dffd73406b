package status

// Stream is a stream of a process, as its config has it: where it reads, and
// where it writes.
type Stream struct {
	Name    string `json:"name"`
	Input   Port   `json:"input"`
	Outputs []Port `json:"outputs"` // those that write somewhere
}

// Port is an input or an output.
type Port struct {
	Path   string   `json:"path"` // as in Flow
	Kind   string   `json:"kind"` // the component
	Label  string   `json:"label"`
	Group  string   `json:"group,omitempty"`
	Topics []string `json:"topics,omitempty"`
}
