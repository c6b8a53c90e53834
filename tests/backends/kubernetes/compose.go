package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
)

// A project is what a Compose file starts: the images of its services, and their files.
type project struct {
	Name   string            `json:"name"`
	Images map[string]string `json:"images"`
	Mounts []string          `json:"mounts"`
	// App is the service itself.
	App types.ServiceConfig `json:"app"`
}

// readCompose loads a Compose file: schema, interpolation, normalisation, and consistency of the
// services with each other. Every mounted file must exist.
func readCompose(path string) (*project, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	directory := filepath.Dir(path)
	details := types.ConfigDetails{
		WorkingDir:  directory,
		ConfigFiles: []types.ConfigFile{{Filename: path, Content: text}},
		Environment: types.Mapping{},
	}
	loaded, err := loader.LoadWithContext(context.Background(), details)
	if err != nil {
		return nil, err
	}
	found := project{Name: loaded.Name, Images: map[string]string{}, App: loaded.Services["app"]}
	for name, service := range loaded.Services {
		if strings.Contains(service.Image, ":latest") || !strings.Contains(service.Image, ":") {
			return nil, fmt.Errorf("%s: the image %s has no version", name, service.Image)
		}
		found.Images[name] = service.Image
		for _, volume := range service.Volumes {
			if volume.Type != types.VolumeTypeBind {
				continue
			}
			if _, err := os.Stat(volume.Source); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			source, err := filepath.Rel(directory, volume.Source)
			if err != nil {
				return nil, err
			}
			found.Mounts = append(found.Mounts, source)
		}
		for _, port := range service.Ports {
			if port.HostIP != "127.0.0.1" {
				return nil, fmt.Errorf("%s: the port %d is open to other machines", name, port.Target)
			}
		}
	}
	return &found, nil
}
