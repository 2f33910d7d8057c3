// Package export_example_gateway_upstream picks the pods in turn, or refuses the request if no pod is ready.
package export_example_gateway_upstream

import (
	"wit_component/example_gateway_ready_pods"
	. "wit_component/example_gateway_upstream"

	. "go.bytecodealliance.org/pkg/wit/types"
)

var turn int

func Pick(request Request) Result[Choice, Refusal] {
	pods := example_gateway_ready_pods.List()
	if len(pods) == 0 {
		return Err[Choice, Refusal](Refusal{Status: 503, Reason: "no pod is ready for " + request.PathAndQuery})
	}
	pod := pods[turn%len(pods)]
	turn++
	return Ok[Choice, Refusal](Choice{Pods: []string{pod.Name}})
}
