// Reads what `wasmetry ops all` generates, as their users do:
// manifests with the types and the validation of Kubernetes' API server and the types of the
// Prometheus operator, the Compose file with the Compose Specification's library, the container
// file with BuildKit's parser, and the rules of the Prometheus adapter as templates of Go. Each
// other YAML file is parsed too, and Grafana's with the fields that its provisioning has.
//
// The arguments are directories with generated files. The result is a JSON array on stdout with an
// element for each; an error is one line on stderr for each problem.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// A result is what a test compares with what was meant.
type result struct {
	// Objects are the manifests as the API server would store them.
	Objects []object `json:"objects"`
	// Rules is the rule file of the PrometheusRule.
	Rules string `json:"rules"`
	// Adapter is a rule file with the queries that the Prometheus adapter sends.
	Adapter string `json:"adapter"`
	// Container is the container file.
	Container *container `json:"container"`
	// Compose is the Compose file.
	Compose *project `json:"compose"`
	// Files is the number of YAML files, all of which were read.
	Files int `json:"files"`
}

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: manifests DIRECTORY...")
		os.Exit(2)
	}
	var results []result
	var problems []error
	for _, directory := range os.Args[1:] {
		found, errs := read(directory)
		results = append(results, found)
		problems = append(problems, errs...)
	}
	for _, problem := range problems {
		fmt.Fprintln(os.Stderr, problem)
	}
	if len(problems) > 0 {
		os.Exit(1)
	}
	if err := json.NewEncoder(os.Stdout).Encode(results); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// read returns what the directory has. A set that is absent is left out.
func read(directory string) (found result, errs []error) {
	fail := func(path string, err error) {
		errs = append(errs, fmt.Errorf("%s: %w", path, err))
	}
	paths, err := filepath.Glob(filepath.Join(directory, "kubernetes", "*"))
	if err != nil {
		return found, []error{err}
	}
	var all manifests
	for _, path := range paths {
		read, err := all.add(path)
		if err != nil {
			fail(path, err)
			continue
		}
		found.Objects = append(found.Objects, read)
	}
	if len(paths) > 0 {
		for _, err := range all.unmatched() {
			fail(directory, err)
		}
		if found.Rules, err = all.ruleFile(); err != nil {
			fail(directory, err)
		}
	}
	optional := func(name string, read func(path string) error) {
		path := filepath.Join(directory, name)
		if _, err := os.Stat(path); err == nil {
			if err := read(path); err != nil {
				fail(path, err)
			}
		}
	}
	found.Files = readEveryYAML(directory, fail)
	optional("prometheus-adapter.yml", func(path string) (err error) {
		found.Adapter, err = adapterQueries(path)
		return err
	})
	optional("container/Containerfile", func(path string) (err error) {
		found.Container, err = readContainer(path)
		return err
	})
	optional("compose/compose.yml", func(path string) (err error) {
		found.Compose, err = readCompose(path)
		return err
	})
	return found, errs
}
