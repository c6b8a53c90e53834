package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"sigs.k8s.io/yaml"
)

// datasources is what Grafana's provisioning reads of a file of data sources:
// https://grafana.com/docs/grafana/latest/administration/provisioning/#data-sources
type datasources struct {
	APIVersion  int `json:"apiVersion"`
	Datasources []struct {
		Name     string         `json:"name"`
		UID      string         `json:"uid"`
		Type     string         `json:"type"`
		Access   string         `json:"access"`
		URL      string         `json:"url"`
		JSONData map[string]any `json:"jsonData"`
	} `json:"datasources"`
}

// providers is what Grafana's provisioning reads of a file of dashboards.
type providers struct {
	APIVersion int `json:"apiVersion"`
	Providers  []struct {
		Name    string `json:"name"`
		Type    string `json:"type"`
		Options struct {
			Path string `json:"path"`
		} `json:"options"`
	} `json:"providers"`
}

// readEveryYAML parses each YAML file in a directory: one document in which no key occurs twice,
// and those of Grafana with its fields only. It returns the number of files.
func readEveryYAML(directory string, fail func(path string, err error)) (count int) {
	err := filepath.WalkDir(directory, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".yml" {
			return err
		}
		count++
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := readYAML(filepath.Base(path), text); err != nil {
			fail(path, err)
		}
		return nil
	})
	if err != nil {
		fail(directory, err)
	}
	return count
}

func readYAML(name string, text []byte) error {
	switch name {
	case "datasources.yml", "grafana-datasources.yml":
		var value datasources
		if err := yaml.UnmarshalStrict(text, &value); err != nil {
			return err
		}
		if value.APIVersion != 1 || len(value.Datasources) == 0 {
			return fmt.Errorf("no data sources of version 1")
		}
		for _, source := range value.Datasources {
			if source.Name == "" || source.UID == "" || source.Type == "" || source.URL == "" {
				return fmt.Errorf("the data source %q lacks a name, UID, type or URL", source.Name)
			}
		}
	case "dashboards.yml":
		var value providers
		if err := yaml.UnmarshalStrict(text, &value); err != nil {
			return err
		}
		if value.APIVersion != 1 || len(value.Providers) == 0 || value.Providers[0].Options.Path == "" {
			return fmt.Errorf("no provider of version 1 with a path")
		}
	default:
		var value any
		return yaml.UnmarshalStrict(text, &value)
	}
	return nil
}
