// Reads dashboards with Grafana's foundation SDK, strictly: a field that the SDK does not know, a
// missing one or one of another type is an error.
//
// The paths of the files are its arguments. It prints a line for each error and exits with 1.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

func main() {
	plugins.RegisterDefaultPlugins()
	failed := false
	for _, path := range os.Args[1:] {
		for _, problem := range read(path) {
			failed = true
			fmt.Printf("%s: %s\n", path, strings.ReplaceAll(problem, "\n", " "))
		}
	}
	if failed {
		os.Exit(1)
	}
}

// read returns the errors of a file.
func read(path string) []string {
	raw, err := os.ReadFile(path)
	if err != nil {
		return []string{err.Error()}
	}
	var parsed dashboard.Dashboard
	// The SDK returns an error that is a list, also if the list is empty.
	var problems cog.BuildErrors
	err = parsed.UnmarshalJSONStrict(raw)
	if err != nil && !(errors.As(err, &problems) && len(problems) == 0) {
		return strings.Split(err.Error(), "\n")
	}
	if err := parsed.Validate(); err != nil {
		return []string{err.Error()}
	}
	return untyped(raw)
}

// untyped returns an error for each panel whose options the SDK has no type for, and has read as
// they are.
func untyped(raw []byte) []string {
	var shape struct {
		Panels []panel `json:"panels"`
	}
	if err := json.Unmarshal(raw, &shape); err != nil {
		return []string{err.Error()}
	}
	var problems []string
	var check func(panels []panel)
	check = func(panels []panel) {
		for _, panel := range panels {
			if panel.Type == "row" {
				check(panel.Panels)
				continue
			}
			if _, found := cog.ConfigForPanelcfgVariant(panel.Type); !found {
				problems = append(problems, fmt.Sprintf("panel %d: the SDK has no panels of type %q", panel.ID, panel.Type))
			}
		}
	}
	check(shape.Panels)
	return problems
}

type panel struct {
	ID     uint32  `json:"id"`
	Type   string  `json:"type"`
	Panels []panel `json:"panels"`
}
