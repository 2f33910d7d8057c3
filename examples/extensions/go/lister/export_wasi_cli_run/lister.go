// Package export_wasi_cli_run is the program that `incluster run` runs: it prints the pods of a namespace, page by page; its services; the
// address of one; or what changes, until a pod is called `last`.
package export_wasi_cli_run

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"wit_component/incluster_kubernetes_client"
	"wit_component/incluster_kubernetes_types"
	"wit_component/kubernetes"
	"wit_component/wasi_cli_environment"

	. "go.bytecodealliance.org/pkg/wit/types"
)

type (
	client = incluster_kubernetes_client.Config
	types  = incluster_kubernetes_types.ListOptions
)

var commands = map[string]func(config *client, namespace string) error{
	"list": list, "services": services, "watch": watch, "address": address,
}

func Run() Result[Unit, Unit] {
	arguments := wasi_cli_environment.GetArguments()
	if len(arguments) < 2 {
		fmt.Fprintln(os.Stderr, "usage: lister list|services|watch|address [NAMESPACE]")
		return Err[Unit, Unit](Unit{})
	}
	namespace := "default"
	if len(arguments) > 2 {
		namespace = arguments[2]
	}
	if err := run(arguments[1], namespace); err != nil {
		advice := "trying again does not help"
		var failure *kubernetes.Error
		if errors.As(err, &failure) && failure.Retryable {
			advice = "try again"
		}
		fmt.Fprintf(os.Stderr, "%v (%s)\n", err, advice)
		return Err[Unit, Unit](Unit{})
	}
	return Ok[Unit, Unit](Unit{})
}

func run(command, namespace string) error {
	do, known := commands[command]
	if !known {
		return fmt.Errorf("there is no command %q", command)
	}
	config := incluster_kubernetes_client.LoadInclusterConfig()
	if config.IsErr() {
		return kubernetes.ConfigError("load the configuration", config.Err())
	}
	return do(config.Ok(), namespace)
}

func list(config *client, namespace string) error {
	options := types{Limit: Some[uint32](3)}
	pages, err := kubernetes.Value("list pods", incluster_kubernetes_client.PageNamespacedPods(config, namespace, options, paging))
	if err != nil {
		return err
	}
	defer pages.Drop()
	for {
		page, err := kubernetes.Value("list pods", pages.Next())
		if err != nil || page.IsNone() {
			return err
		}
		for _, pod := range page.Some().Items {
			fmt.Println(pod.Metadata.Name, pod.Status.Phase.SomeOr("Unknown"))
		}
	}
}

var paging = incluster_kubernetes_types.PagingOptions{}

func services(config *client, namespace string) error {
	path := fmt.Sprintf("/api/v1/namespaces/%s/services", namespace)
	pages, err := kubernetes.Value("list services", incluster_kubernetes_client.PageJson(config, path, types{}, paging))
	if err != nil {
		return err
	}
	defer pages.Drop()
	for {
		page, err := kubernetes.Value("list services", pages.Next())
		if err != nil || page.IsNone() {
			return err
		}
		for _, item := range page.Some().Items {
			var service struct{ Metadata struct{ Name string } }
			if err := json.Unmarshal(item, &service); err != nil {
				return err
			}
			fmt.Println(service.Metadata.Name)
		}
	}
}

func watch(config *client, namespace string) error {
	options := incluster_kubernetes_types.WatchOptions{}
	changes, err := kubernetes.Value("watch pods", incluster_kubernetes_client.WatchNamespacedPods(config, namespace, options))
	if err != nil {
		return err
	}
	defer changes.Drop()
	kinds := map[uint8]string{
		incluster_kubernetes_types.ChangeKind_Added:    "added",
		incluster_kubernetes_types.ChangeKind_Modified: "modified",
		incluster_kubernetes_types.ChangeKind_Deleted:  "deleted",
	}
	for {
		event, err := kubernetes.Value("watch pods", changes.Next(None[uint32]()))
		if err != nil {
			return err
		}
		if event.IsNone() || event.Some().Tag() != incluster_kubernetes_types.PodEvent_Changed {
			continue
		}
		change := event.Some().Changed()
		fmt.Println(kinds[change.Kind], change.Pod.Metadata.Name)
		if change.Pod.Metadata.Name == "last" {
			return nil
		}
	}
}

func address(config *client, namespace string) error {
	path := fmt.Sprintf("/api/v1/namespaces/%s/services/web", namespace)
	body, err := kubernetes.Value("get service web", incluster_kubernetes_client.GetJson(config, path))
	if err != nil {
		return err
	}
	var service struct{ Spec struct{ ClusterIP string } }
	if err := json.Unmarshal(body, &service); err != nil {
		return err
	}
	fmt.Println(service.Spec.ClusterIP)
	return nil
}
