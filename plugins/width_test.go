package plugins

import (
	"go/scanner"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

// width is how many characters a line may have.
const width = 120

// exempt are lines that cannot be broken: texts of several lines, directives,
// and code within comments.
func exempt(src []byte) map[int]bool {
	files := token.NewFileSet()
	f := files.AddFile("", files.Base(), len(src))
	var s scanner.Scanner
	s.Init(f, src, func(token.Position, string) {}, scanner.ScanComments)
	lines := map[int]bool{}
	for {
		pos, kind, text := s.Scan()
		switch {
		case kind == token.EOF:
			return lines
		case kind == token.STRING && text[0] == '`',
			kind == token.COMMENT && (strings.HasPrefix(text, "//\t") || strings.HasPrefix(text, "//go:")):
			for i := range strings.Count(text, "\n") + 1 {
				lines[f.Line(pos)+i] = true
			}
		}
	}
}

func tooLong(src []byte) (lines []int) {
	may := exempt(src)
	for i, line := range strings.Split(string(src), "\n") {
		if utf8.RuneCountInString(line) > width && !may[i+1] {
			lines = append(lines, i+1)
		}
	}
	return lines
}

func TestLaws_LinesAreReadWithoutScrolling(t *testing.T) {
	all, _ := sources(t)
	for _, s := range all {
		raw, err := os.ReadFile(filepath.Join("..", s.path))
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range tooLong(raw) {
			t.Errorf("%s:%d has more than %d characters", s.path, line, width)
		}
	}
	long := strings.Repeat("x", width+1)
	if len(tooLong([]byte("package p\n\nvar a = \""+long+"\"\n"))) != 1 {
		t.Error("a long line is not seen")
	}
	if len(tooLong([]byte("package p\n\nvar a = `"+long+"\n"+long+"`\n"))) != 0 {
		t.Error("a text of several lines is taken for code")
	}
}

// Test names begin with their noun, so that -run finds what is of one kind.
func TestLaws_TestNamesBeginWithTheirNoun(t *testing.T) {
	all, _ := sources(t)
	name := regexp.MustCompile(`(?m)^func (Test\w*)\(t \*testing\.T\)`)
	noun := regexp.MustCompile(`^Test[A-Z][A-Za-z0-9]*_[A-Z0-9]`)
	found := 0
	for _, s := range all {
		if !s.test() {
			continue
		}
		raw, err := os.ReadFile(filepath.Join("..", s.path))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range name.FindAllStringSubmatch(string(raw), -1) {
			if found++; !noun.MatchString(m[1]) {
				t.Errorf("%s: %s: expected TestNoun_WhatHolds", s.path, m[1])
			}
		}
	}
	if found < 300 {
		t.Fatalf("found only %d tests", found)
	}
}
