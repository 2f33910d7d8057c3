"""Picks the pod whose turn it is, or refuses where there is none."""

from itertools import count

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports import upstream
from wit_world.imports import ready_pods

turns = count()


class Upstream(exports.Upstream):
    def pick(self, request: upstream.Request) -> str:
        pods = ready_pods.list()
        if not pods:
            raise Err(upstream.Refusal(503, f"no pod is ready for {request.path_and_query}"))
        return pods[next(turns) % len(pods)].name
