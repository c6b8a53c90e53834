// Package jsonlines is an exporter of the OpenTelemetry Collector that appends to a file.
//
// Each request is one line: the request's logs, spans or metrics as OTLP's JSON, in the field
// resourceLogs, resourceSpans or resourceMetrics. A line is written before the request is
// answered, so that what the file lacks was not accepted.
package jsonlines

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/exporter/exporterhelper"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// Config is the exporter's part of the Collector's configuration.
type Config struct {
	// Path is the file, which is made if it does not exist.
	Path string `mapstructure:"path"`
}

// Validate returns an error if there is no path.
func (config *Config) Validate() error {
	if config.Path == "" {
		return errors.New("path: name the file to append to")
	}
	return nil
}

// NewFactory returns the factory of the exporter, whose type is jsonlines.
func NewFactory() exporter.Factory {
	return exporter.NewFactory(
		component.MustNewType("jsonlines"),
		func() component.Config { return &Config{} },
		exporter.WithLogs(newLogs, component.StabilityLevelDevelopment),
		exporter.WithTraces(newTraces, component.StabilityLevelDevelopment),
		exporter.WithMetrics(newMetrics, component.StabilityLevelDevelopment),
	)
}

// appender writes lines to a file.
type appender struct {
	path string
	lock sync.Mutex
	file *os.File
}

func newAppender(config component.Config) *appender {
	return &appender{path: config.(*Config).Path}
}

// start opens the file. Exporters of several signals may append to one file.
func (appender *appender) start(context.Context, component.Host) error {
	file, err := os.OpenFile(appender.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	appender.file = file
	return err
}

func (appender *appender) stop(context.Context) error {
	if appender.file == nil {
		return nil
	}
	return appender.file.Close()
}

// write appends a line by one call, so that lines of several exporters do not mix.
func (appender *appender) write(line []byte, err error) error {
	if err != nil {
		return fmt.Errorf("cannot encode: %w", err)
	}
	appender.lock.Lock()
	defer appender.lock.Unlock()
	_, err = appender.file.Write(append(line, '\n'))
	return err
}

// options returns the options of each signal. There is no queue: a request is answered when its
// line is written.
func (appender *appender) options() []exporterhelper.Option {
	return []exporterhelper.Option{
		exporterhelper.WithStart(appender.start),
		exporterhelper.WithShutdown(appender.stop),
		exporterhelper.WithCapabilities(consumer.Capabilities{MutatesData: false}),
	}
}

func newLogs(ctx context.Context, settings exporter.Settings, config component.Config) (exporter.Logs, error) {
	appender, marshaler := newAppender(config), &plog.JSONMarshaler{}
	push := func(_ context.Context, logs plog.Logs) error {
		return appender.write(marshaler.MarshalLogs(logs))
	}
	return exporterhelper.NewLogs(ctx, settings, config, push, appender.options()...)
}

func newTraces(ctx context.Context, settings exporter.Settings, config component.Config) (exporter.Traces, error) {
	appender, marshaler := newAppender(config), &ptrace.JSONMarshaler{}
	push := func(_ context.Context, traces ptrace.Traces) error {
		return appender.write(marshaler.MarshalTraces(traces))
	}
	return exporterhelper.NewTraces(ctx, settings, config, push, appender.options()...)
}

func newMetrics(ctx context.Context, settings exporter.Settings, config component.Config) (exporter.Metrics, error) {
	appender, marshaler := newAppender(config), &pmetric.JSONMarshaler{}
	push := func(_ context.Context, metrics pmetric.Metrics) error {
		return appender.write(marshaler.MarshalMetrics(metrics))
	}
	return exporterhelper.NewMetrics(ctx, settings, config, push, appender.options()...)
}
