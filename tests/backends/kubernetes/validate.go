package main

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	"k8s.io/kubernetes/pkg/api/pod"
	"k8s.io/kubernetes/pkg/apis/apps"
	_ "k8s.io/kubernetes/pkg/apis/apps/install"
	appsvalidation "k8s.io/kubernetes/pkg/apis/apps/validation"
	"k8s.io/kubernetes/pkg/apis/autoscaling"
	_ "k8s.io/kubernetes/pkg/apis/autoscaling/install"
	autoscalingvalidation "k8s.io/kubernetes/pkg/apis/autoscaling/validation"
	"k8s.io/kubernetes/pkg/apis/core"
	_ "k8s.io/kubernetes/pkg/apis/core/install"
	corevalidation "k8s.io/kubernetes/pkg/apis/core/validation"
	"k8s.io/kubernetes/pkg/apis/networking"
	_ "k8s.io/kubernetes/pkg/apis/networking/install"
	networkingvalidation "k8s.io/kubernetes/pkg/apis/networking/validation"
	"k8s.io/kubernetes/pkg/apis/policy"
	_ "k8s.io/kubernetes/pkg/apis/policy/install"
	policyvalidation "k8s.io/kubernetes/pkg/apis/policy/validation"
)

// validate does what the API server does when an object is created: it sets the defaults and
// applies the rules of the object's kind.
func validate(decoded runtime.Object) error {
	accessor, err := meta.Accessor(decoded)
	if err != nil {
		return err
	}
	if accessor.GetNamespace() == "" {
		// The API server has it from the request.
		accessor.SetNamespace("default")
		defer accessor.SetNamespace("")
	}
	legacyscheme.Scheme.Default(decoded)
	internal, err := legacyscheme.Scheme.ConvertToVersion(decoded, runtime.InternalGroupVersioner)
	if err != nil {
		return err
	}
	var problems field.ErrorList
	switch typed := internal.(type) {
	case *apps.Deployment:
		options := pod.GetValidationOptionsFromPodTemplate(&typed.Spec.Template, nil)
		problems = appsvalidation.ValidateDeployment(typed, options)
	case *core.Service:
		problems = corevalidation.ValidateServiceCreate(typed)
	case *networking.NetworkPolicy:
		problems = networkingvalidation.ValidateNetworkPolicy(typed, networkingvalidation.NetworkPolicyValidationOptions{})
	case *autoscaling.HorizontalPodAutoscaler:
		options := autoscalingvalidation.HorizontalPodAutoscalerSpecValidationOptions{MinReplicasLowerBound: 1}
		problems = autoscalingvalidation.ValidateHorizontalPodAutoscaler(typed, options)
	case *policy.PodDisruptionBudget:
		problems = policyvalidation.ValidatePodDisruptionBudget(typed, policyvalidation.PodDisruptionBudgetValidationOptions{})
	default:
		return fmt.Errorf("no validation for %T", internal)
	}
	return problems.ToAggregate()
}
