// Package export_example_gateway_upstream picks the pod whose turn it is, or refuses where there is none.
package export_example_gateway_upstream

import (
	"wit_component/example_gateway_ready_pods"
	. "wit_component/example_gateway_upstream"

	. "go.bytecodealliance.org/pkg/wit/types"
)

var turn int

func Pick(request Request) Result[string, Refusal] {
	pods := example_gateway_ready_pods.List()
	if len(pods) == 0 {
		return Err[string, Refusal](Refusal{Status: 503, Reason: "no pod is ready for " + request.PathAndQuery})
	}
	pod := pods[turn%len(pods)]
	turn++
	return Ok[string, Refusal](pod.Name)
}
