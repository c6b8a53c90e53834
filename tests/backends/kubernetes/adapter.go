package main

import (
	"fmt"
	"os"
	"strings"
	"text/template"

	"sigs.k8s.io/yaml"
)

// A configuration of the Prometheus adapter, whose module is not used: these are the fields of its
// documentation. See docs/config.md of kubernetes-sigs/prometheus-adapter.
type adapterConfig struct {
	Rules []struct {
		SeriesQuery string `json:"seriesQuery"`
		Resources   struct {
			Overrides map[string]struct {
				Resource string `json:"resource"`
			} `json:"overrides"`
		} `json:"resources"`
		Name struct {
			As string `json:"as"`
		} `json:"name"`
		MetricsQuery string `json:"metricsQuery"`
	} `json:"rules"`
}

type adapterRule struct {
	Record string `json:"record"`
	Expr   string `json:"expr"`
}

type adapterGroup struct {
	Name  string        `json:"name"`
	Rules []adapterRule `json:"rules"`
}

// adapterQueries returns a rule file with the queries that the adapter sends for two pods.
func adapterQueries(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	var config adapterConfig
	if err := yaml.UnmarshalStrict(text, &config); err != nil {
		return "", err
	}
	group := adapterGroup{Name: "adapter"}
	for _, rule := range config.Rules {
		if rule.Resources.Overrides["namespace"].Resource != "namespace" || rule.Resources.Overrides["pod"].Resource != "pod" {
			return "", fmt.Errorf("%s belongs to no pod", rule.Name.As)
		}
		query, err := template.New("query").Delims("<<", ">>").Parse(rule.MetricsQuery)
		if err != nil {
			return "", err
		}
		var sent strings.Builder
		values := map[string]string{
			"Series":        strings.SplitN(rule.SeriesQuery, "{", 2)[0],
			"LabelMatchers": `namespace="shop",pod=~"a|b"`,
			"GroupBy":       "pod",
		}
		if err := query.Option("missingkey=error").Execute(&sent, values); err != nil {
			return "", err
		}
		group.Rules = append(group.Rules,
			adapterRule{Record: rule.Name.As, Expr: sent.String()},
			adapterRule{Record: rule.Name.As + ":series", Expr: rule.SeriesQuery})
	}
	file, err := yaml.Marshal(map[string][]adapterGroup{"groups": {group}})
	return string(file), err
}
