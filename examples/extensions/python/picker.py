"""Picks the pods in turn, or refuses the request if no pod is ready."""

from functools import lru_cache
from itertools import count

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports import upstream
from wit_world.imports import ready_pods

turns = count()


@lru_cache(maxsize=1)
def names(generation: int) -> list[str]:
    """A warm sandbox asks for the list only when it has changed: with many pods, the list takes most of the time of a call."""
    return [pod.name for pod in ready_pods.list()]


class Upstream(exports.Upstream):
    def pick(self, request: upstream.Request) -> upstream.Choice:
        pods = names(ready_pods.generation())
        if not pods:
            raise Err(upstream.Refusal(503, f"no pod is ready for {request.path_and_query}"))
        return upstream.Choice(pods=[pods[next(turns) % len(pods)]], set_headers=[])
