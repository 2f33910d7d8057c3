"""Picks the pod whose turn it is, or refuses where there is none."""

from functools import lru_cache
from itertools import count

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports import upstream
from wit_world.imports import ready_pods

turns = count()


@lru_cache(maxsize=1)
def names(generation: int) -> list[str]:
    """A sandbox that is used again asks for the list only when it has changed: of many pods, that is most of a call."""
    return [pod.name for pod in ready_pods.list()]


class Upstream(exports.Upstream):
    def pick(self, request: upstream.Request) -> str:
        pods = names(ready_pods.generation())
        if not pods:
            raise Err(upstream.Refusal(503, f"no pod is ready for {request.path_and_query}"))
        return pods[next(turns) % len(pods)]
