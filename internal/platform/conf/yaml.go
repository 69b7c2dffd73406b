package conf

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"gopkg.in/yaml.v3"
)

// ErrEmpty says that a file of YAML has no document.
var ErrEmpty = errors.New("the file is empty")

// YAML decodes the only document of a file. It refuses unknown fields and further documents, and returns ErrEmpty if
// there is no document.
func YAML(raw []byte, into any) error {
	d := yaml.NewDecoder(bytes.NewReader(raw))
	d.KnownFields(true)
	if err := d.Decode(into); errors.Is(err, io.EOF) {
		return ErrEmpty
	} else if err != nil {
		return err
	}
	line, err := SecondDocument(raw)
	if err == nil && line > 0 {
		err = fmt.Errorf("line %d: %s", line, OneDocument)
	}
	return err
}

// OneDocument says what is wrong with a file that has a second document.
const OneDocument = "a second YAML document begins here (---), and a file has one: put both into one"

// SecondDocument returns the line at which a document begins after the first one of a file that the YAML package can
// read, 0 if there is none. One that is empty does not count.
func SecondDocument(raw []byte) (line int, err error) {
	d := yaml.NewDecoder(bytes.NewReader(raw))
	for i := 0; ; i++ {
		var doc yaml.Node
		if err := d.Decode(&doc); errors.Is(err, io.EOF) {
			return 0, nil
		} else if err != nil {
			return 0, err
		}
		if i > 0 && len(doc.Content) > 0 && doc.Content[0].Tag != "!!null" {
			return doc.Content[0].Line, nil
		}
	}
}
