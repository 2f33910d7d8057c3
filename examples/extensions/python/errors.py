"""What the client's failures are to a program: an exception with its case, a text, and whether another attempt may succeed."""

from contextlib import contextmanager

from componentize_py_types import Err
from wit_world.imports import types

RETRYABLE = (
    types.TransportError_NameNotResolved,
    types.TransportError_ConnectionRefused,
    types.TransportError_Unreachable,
    types.TransportError_Timeout,
    types.TransportError_ConnectionLost,
)


class KubernetesError(Exception):
    def __init__(self, doing: str, value: object):
        failure = value if isinstance(value, types.Failure) else None
        self.kind, text, self.retryable = describe(failure.error if failure else value)
        tried = f" (tried {failure.attempts} times in {failure.elapsed} ms)" if failure and failure.attempts > 1 else ""
        super().__init__(f"failed to {doing}: {self.kind}: {text}{tried}")
        self.failure = value


def describe(error: object) -> tuple[str, str, bool]:
    match error:
        case types.Error_Api(status):
            return status.reason or f"HTTP {status.code}", status.message, status.code in (429, 500, 502, 503, 504)
        case types.Error_Expired(expired):
            return "Expired", expired.message, False
        case types.Error_Transport(cause):
            return name(cause), cause.value, isinstance(cause, RETRYABLE)
        case types.Error_Config(cause):
            return name(cause), str(cause.value), False
        case _:
            return name(error), str(getattr(error, "value", "")), False


def name(case: object) -> str:
    """`ConnectionLost` of `TransportError_ConnectionLost`."""
    return type(case).__name__.rpartition("_")[2]


@contextmanager
def asking(doing: str):
    """Makes an error of what the client raises."""
    try:
        yield
    except Err as error:
        raise KubernetesError(doing, error.value) from None
