package main

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
)

// A copied file of an image.
type copied struct {
	From string `json:"from"`
	To   string `json:"to"`
	Mode string `json:"mode"`
}

// A container is what a container file makes.
type container struct {
	Base       string   `json:"base"`
	Copies     []copied `json:"copies"`
	User       string   `json:"user"`
	Ports      []string `json:"ports"`
	Entrypoint []string `json:"entrypoint"`
	Command    []string `json:"command"`
}

// readContainer reads a container file, whose paths are expanded as in a build.
func readContainer(path string) (*container, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	parsed, err := parser.Parse(file)
	if err != nil {
		return nil, err
	}
	if len(parsed.Warnings) > 0 {
		return nil, fmt.Errorf("warnings: %v", parsed.Warnings)
	}
	var problems []error
	lint := linter.New(&linter.Config{Warn: func(rule, _, _, message string, _ []parser.Range) {
		problems = append(problems, fmt.Errorf("%s: %s", rule, message))
	}})
	stages, _, err := instructions.Parse(parsed.AST, lint)
	if err != nil {
		return nil, err
	}
	if len(stages) != 1 {
		return nil, errors.New("not one stage")
	}
	lex := shell.NewLex(parsed.EscapeToken)
	expand := func(word string) (string, error) {
		expanded, _, err := lex.ProcessWord(word, shell.EnvsFromSlice(nil))
		return expanded, err
	}
	found := container{Base: stages[0].BaseName}
	for _, command := range stages[0].Commands {
		if expandable, ok := command.(instructions.SupportsSingleWordExpansion); ok {
			if err := expandable.Expand(expand); err != nil {
				return nil, err
			}
		}
		switch typed := command.(type) {
		case *instructions.CopyCommand:
			if len(typed.SourcePaths) != 1 {
				return nil, errors.New("not one source")
			}
			found.Copies = append(found.Copies, copied{From: typed.SourcePaths[0], To: typed.DestPath, Mode: typed.Chmod})
		case *instructions.UserCommand:
			found.User = typed.User
		case *instructions.ExposeCommand:
			found.Ports = slices.Clone(typed.Ports)
		case *instructions.EntrypointCommand:
			if typed.PrependShell {
				return nil, errors.New("the entrypoint needs a shell, which the image does not have")
			}
			found.Entrypoint = typed.CmdLine
		case *instructions.CmdCommand:
			if typed.PrependShell {
				return nil, errors.New("the command needs a shell, which the image does not have")
			}
			found.Command = typed.CmdLine
		default:
			return nil, fmt.Errorf("unexpected instruction %s", command.Name())
		}
	}
	return &found, errors.Join(problems...)
}
