package main

import (
	"errors"
	"fmt"
	"os"
	"slices"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"
)

// An object is a manifest after the defaults of the API server.
type object struct {
	Kind   string         `json:"kind"`
	Object runtime.Object `json:"object"`
}

// manifests are the objects of a service, by their kinds.
type manifests struct {
	deployment *appsv1.Deployment
	service    *corev1.Service
	policy     *networkingv1.NetworkPolicy
	autoscaler *autoscalingv2.HorizontalPodAutoscaler
	budget     *policyv1.PodDisruptionBudget
	monitor    *monitoringv1.ServiceMonitor
	rule       *monitoringv1.PrometheusRule
}

// decoder refuses fields that a type does not have and fields that occur twice.
var decoder = func() runtime.Decoder {
	scheme := runtime.NewScheme()
	add := []func(*runtime.Scheme) error{
		appsv1.AddToScheme, autoscalingv2.AddToScheme, corev1.AddToScheme, networkingv1.AddToScheme,
		policyv1.AddToScheme, monitoringv1.AddToScheme,
	}
	for _, add := range add {
		if err := add(scheme); err != nil {
			panic(err)
		}
	}
	options := json.SerializerOptions{Yaml: true, Strict: true}
	return json.NewSerializerWithOptions(json.DefaultMetaFactory, scheme, scheme, options)
}()

// add decodes and validates a file with one object.
func (all *manifests) add(path string) (object, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return object{}, err
	}
	decoded, kind, err := decoder.Decode(text, nil, nil)
	if err != nil {
		return object{}, err
	}
	switch typed := decoded.(type) {
	case *appsv1.Deployment:
		all.deployment = typed
	case *corev1.Service:
		all.service = typed
	case *networkingv1.NetworkPolicy:
		all.policy = typed
	case *autoscalingv2.HorizontalPodAutoscaler:
		all.autoscaler = typed
	case *policyv1.PodDisruptionBudget:
		all.budget = typed
	case *monitoringv1.ServiceMonitor:
		all.monitor = typed
	case *monitoringv1.PrometheusRule:
		all.rule = typed
	default:
		return object{}, fmt.Errorf("unexpected kind %s", kind)
	}
	// Custom resources have schemas in the cluster; their metadata has the same rules.
	if kind.Group == "monitoring.coreos.com" {
		err = customMetadata(decoded.(metav1.Object))
	} else {
		err = validate(decoded)
	}
	return object{Kind: kind.Kind, Object: decoded}, err
}

func customMetadata(object metav1.Object) error {
	problems := validation.IsDNS1123Subdomain(object.GetName())
	if namespace := object.GetNamespace(); namespace != "" {
		problems = append(problems, validation.IsDNS1123Label(namespace)...)
	}
	for key, value := range object.GetLabels() {
		problems = append(problems, validation.IsQualifiedName(key)...)
		problems = append(problems, validation.IsValidLabelValue(value)...)
	}
	if len(problems) > 0 {
		return fmt.Errorf("metadata: %v", problems)
	}
	return nil
}

// unmatched returns the references between objects that do not meet.
func (all *manifests) unmatched() (errs []error) {
	if all.deployment == nil || all.service == nil || all.policy == nil || all.autoscaler == nil ||
		all.budget == nil || all.monitor == nil || all.rule == nil {
		return []error{errors.New("an object is absent")}
	}
	check := func(matches bool, message string) {
		if !matches {
			errs = append(errs, errors.New(message))
		}
	}
	pods := labels.Set(all.deployment.Spec.Template.Labels)
	selects := func(selector *metav1.LabelSelector, target labels.Set) bool {
		converted, err := metav1.LabelSelectorAsSelector(selector)
		return err == nil && !converted.Empty() && converted.Matches(target)
	}
	check(selects(all.deployment.Spec.Selector, pods), "the Deployment does not select its pods")
	service := labels.SelectorFromSet(all.service.Spec.Selector)
	check(!service.Empty() && service.Matches(pods), "the Service does not select the pods")
	check(selects(&all.policy.Spec.PodSelector, pods), "the NetworkPolicy does not select the pods")
	check(selects(all.budget.Spec.Selector, pods), "the PodDisruptionBudget does not select the pods")
	check(selects(&all.monitor.Spec.Selector, all.service.Labels), "the ServiceMonitor does not select the Service")
	for _, label := range all.monitor.Spec.PodTargetLabels {
		check(pods.Has(label), "the pods have no label "+label)
	}
	target := all.autoscaler.Spec.ScaleTargetRef
	check(target.Kind == "Deployment" && target.APIVersion == "apps/v1" && target.Name == all.deployment.Name,
		"the HorizontalPodAutoscaler scales something else")

	var names []string
	for _, port := range all.deployment.Spec.Template.Spec.Containers[0].Ports {
		names = append(names, port.Name)
	}
	named := func(port intstr.IntOrString) bool {
		return port.Type == intstr.String && slices.Contains(names, port.StrVal)
	}
	var servicePorts []string
	for _, port := range all.service.Spec.Ports {
		servicePorts = append(servicePorts, port.Name)
		check(named(port.TargetPort), "the Service has a port that the pods do not have")
	}
	for _, endpoint := range all.monitor.Spec.Endpoints {
		check(slices.Contains(servicePorts, endpoint.Port), "the ServiceMonitor has a port that the Service does not have")
	}
	for _, ingress := range all.policy.Spec.Ingress {
		for _, port := range ingress.Ports {
			check(named(*port.Port), "the NetworkPolicy has a port that the pods do not have")
		}
	}
	return errs
}

// ruleFile returns the rules as Prometheus reads them.
func (all *manifests) ruleFile() (string, error) {
	if all.rule == nil {
		return "", errors.New("no PrometheusRule")
	}
	text, err := yaml.Marshal(all.rule.Spec)
	return string(text), err
}
