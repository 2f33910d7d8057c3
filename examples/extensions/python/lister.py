"""Prints the pods of a namespace, page by page; its services; the address of one; or what changes, until a pod is called `last`."""

import json
import sys
from dataclasses import replace

from componentize_py_types import Err
from errors import KubernetesError, asking
from wit_world import exports
from wit_world.imports import client, environment, types

ALL = types.ListOptions(*[None] * 7)
BY_THREE = replace(ALL, limit=3)
PAGING = types.PagingOptions(None, None)
CHANGES = types.WatchOptions(None, None, None, None)


class Run(exports.Run):
    def run(self) -> None:
        arguments = environment.get_arguments()[1:]
        if not arguments or arguments[0] not in COMMANDS:
            print(f"usage: lister {'|'.join(COMMANDS)} [NAMESPACE]", file=sys.stderr)
            raise Err(None)
        command, namespace = arguments[0], (arguments + ["default"])[1]
        try:
            with asking("load the configuration"):
                config = client.load_incluster_config()
            COMMANDS[command](config, namespace)
        except KubernetesError as error:
            print(f"{error} ({'try again' if error.retryable else 'trying again does not help'})", file=sys.stderr)
            raise Err(None)


def pods(config: client.Config, namespace: str) -> None:
    with asking("list pods"):
        pages = client.page_namespaced_pods(config, namespace, BY_THREE, PAGING)
        while page := pages.next():
            for pod in page.items:
                print(pod.metadata.name, pod.status.phase)


def services(config: client.Config, namespace: str) -> None:
    with asking("list services"):
        pages = client.page_json(config, f"/api/v1/namespaces/{namespace}/services", ALL, PAGING)
        while page := pages.next():
            for item in page.items:
                print(json.loads(item)["metadata"]["name"])


def watch(config: client.Config, namespace: str) -> None:
    with asking("watch pods"):
        changes = client.watch_namespaced_pods(config, namespace, CHANGES)
        while True:
            match changes.next(None):
                case types.PodEvent_Changed(change):
                    print(change.kind.name.lower(), change.pod.metadata.name)
                    if change.pod.metadata.name == "last":
                        return


def address(config: client.Config, namespace: str) -> None:
    with asking("get service web"):
        print(json.loads(client.get_json(config, f"/api/v1/namespaces/{namespace}/services/web"))["spec"]["clusterIP"])


COMMANDS = {"list": pods, "services": services, "watch": watch, "address": address}
