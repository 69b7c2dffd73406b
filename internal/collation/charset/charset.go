// Package charset replaces the package of TiDB's SQL parser, from which the reader of MySQL's binary log needs one
// number: the collation for its login. The original brings 21 more packages, such as a logger and tables of East Asian
// character sets, that weir does not need. go.mod replaces the module by this folder.
package charset

import "fmt"

// Collation is an order of texts, by the number that servers have for it.
type Collation struct{ ID int }

// GetCollationByName returns a collation by its name.
func GetCollationByName(name string) (*Collation, error) {
	for _, c := range []struct {
		name string
		id   int
	}{{"utf8mb4_0900_ai_ci", 255}, {"utf8mb4_bin", 46}, {"utf8mb4_general_ci", 45}} {
		if c.name == name {
			return &Collation{c.id}, nil
		}
	}
	return nil, fmt.Errorf("unknown collation %q", name)
}
