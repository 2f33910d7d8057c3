// Package kubernetes makes an error of what the client fails with: its case, a text, and whether another attempt may succeed.
package kubernetes

import (
	"fmt"
	"wit_component/incluster_kubernetes_types"

	. "go.bytecodealliance.org/pkg/wit/types"
)

// Error is a call that failed.
type Error struct {
	Doing     string
	Kind      string
	Text      string
	Retryable bool
	// Failure is the contract's failure of a call to the API server.
	Failure *incluster_kubernetes_types.Failure
}

func (e *Error) Error() string {
	tried := ""
	if e.Failure != nil && e.Failure.Attempts > 1 {
		tried = fmt.Sprintf(" (tried %d times in %d ms)", e.Failure.Attempts, e.Failure.Elapsed)
	}
	return fmt.Sprintf("failed to %s: %s: %s%s", e.Doing, e.Kind, e.Text, tried)
}

// Value is what a call returned, or its failure as an error.
func Value[T any](doing string, result Result[T, incluster_kubernetes_types.Failure]) (T, error) {
	if result.IsOk() {
		return result.Ok(), nil
	}
	failure := result.Err()
	err := of(doing, failure.Error)
	err.Failure = &failure
	var none T
	return none, err
}

// ConfigError is the error of a configuration that cannot be used.
func ConfigError(doing string, err incluster_kubernetes_types.ConfigError) error {
	return of(doing, incluster_kubernetes_types.MakeErrorConfig(err))
}

func of(doing string, err incluster_kubernetes_types.Error) *Error {
	e := &Error{Doing: doing}
	switch err.Tag() {
	case incluster_kubernetes_types.Error_Api:
		status := err.Api()
		e.Kind, e.Text = status.Reason.SomeOr(fmt.Sprintf("HTTP %d", status.Code)), status.Message
		switch status.Code {
		case 429, 500, 502, 503, 504:
			e.Retryable = true
		}
	case incluster_kubernetes_types.Error_Expired:
		e.Kind, e.Text = "Expired", err.Expired().Message
	case incluster_kubernetes_types.Error_Config:
		e.Kind, e.Text = "Config", config(err.Config())
	case incluster_kubernetes_types.Error_Transport:
		e.Kind, e.Text, e.Retryable = transport(err.Transport())
	case incluster_kubernetes_types.Error_Denied:
		e.Kind, e.Text = "Denied", err.Denied()
	case incluster_kubernetes_types.Error_InvalidArgument:
		e.Kind, e.Text = "InvalidArgument", err.InvalidArgument()
	case incluster_kubernetes_types.Error_MalformedResponse:
		e.Kind, e.Text = "MalformedResponse", err.MalformedResponse()
	case incluster_kubernetes_types.Error_LimitExceeded:
		e.Kind, e.Text = "LimitExceeded", err.LimitExceeded()
	default:
		e.Kind, e.Text = "Other", err.Other()
	}
	return e
}

func transport(err incluster_kubernetes_types.TransportError) (kind, text string, retryable bool) {
	switch err.Tag() {
	case incluster_kubernetes_types.TransportError_NameNotResolved:
		return "NameNotResolved", err.NameNotResolved(), true
	case incluster_kubernetes_types.TransportError_ConnectionRefused:
		return "ConnectionRefused", err.ConnectionRefused(), true
	case incluster_kubernetes_types.TransportError_Unreachable:
		return "Unreachable", err.Unreachable(), true
	case incluster_kubernetes_types.TransportError_Timeout:
		return "Timeout", err.Timeout(), true
	case incluster_kubernetes_types.TransportError_ConnectionLost:
		return "ConnectionLost", err.ConnectionLost(), true
	case incluster_kubernetes_types.TransportError_Certificate:
		return "Certificate", err.Certificate(), false
	case incluster_kubernetes_types.TransportError_Tls:
		return "Tls", err.Tls(), false
	case incluster_kubernetes_types.TransportError_HttpProtocol:
		return "HttpProtocol", err.HttpProtocol(), false
	case incluster_kubernetes_types.TransportError_Redirected:
		return "Redirected", err.Redirected(), false
	default:
		return "Other", err.Other(), false
	}
}

// config describes the errors that are most likely.
func config(err incluster_kubernetes_types.ConfigError) string {
	switch err.Tag() {
	case incluster_kubernetes_types.ConfigError_EnvironmentMissing:
		return "the environment variable " + err.EnvironmentMissing() + " is not set"
	case incluster_kubernetes_types.ConfigError_FileMissing:
		return "there is no file " + err.FileMissing()
	case incluster_kubernetes_types.ConfigError_FileEmpty:
		return "the file " + err.FileEmpty() + " is empty"
	case incluster_kubernetes_types.ConfigError_FileUnreadable:
		return "failed to read " + err.FileUnreadable().Path + ": " + err.FileUnreadable().Reason
	default:
		return fmt.Sprintf("case %d of config-error", err.Tag())
	}
}
