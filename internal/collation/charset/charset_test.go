package charset_test

import (
	"testing"

	"github.com/pingcap/tidb/pkg/parser/charset"
)

func TestCharset_NumbersAreThoseOfServers(t *testing.T) {
	if c, err := charset.GetCollationByName("utf8mb4_general_ci"); err != nil || c.ID != 45 {
		t.Error(c, err)
	}
	if _, err := charset.GetCollationByName("none"); err == nil {
		t.Error("there is one that nobody knows")
	}
}
