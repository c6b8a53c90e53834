// A checker of Grafana Alloy's configuration files: each is parsed by Alloy's own parser and must
// be formatted as `alloy fmt` does.
//
// It does not know components and their arguments, which need Alloy itself.
package main

import (
	"bytes"
	"fmt"
	"os"

	"github.com/grafana/alloy/syntax/parser"
	"github.com/grafana/alloy/syntax/printer"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "no file is given: alloy-syntax FILE...")
		os.Exit(2)
	}
	failed := false
	for _, path := range os.Args[1:] {
		if err := check(path); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", path, err)
			failed = true
		}
	}
	if failed {
		os.Exit(1)
	}
}

// check parses a file and compares it with its formatted form.
func check(path string) error {
	source, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	file, err := parser.ParseFile(path, source)
	if err != nil {
		return err
	}
	var formatted bytes.Buffer
	if err := printer.Fprint(&formatted, file); err != nil {
		return err
	}
	formatted.WriteByte('\n')
	if !bytes.Equal(formatted.Bytes(), source) {
		return fmt.Errorf("it is not formatted; the formatted file is\n%s", formatted.Bytes())
	}
	return nil
}
