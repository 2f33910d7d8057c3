"""The claim to this machine's cluster. There is at most one cluster, because control groups have fixed names."""

import contextlib
import fcntl
import json
import os
import signal
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Optional

CLAIM = Path("/run/incluster-cluster")

# How long another command may take to finish, and how often to look, in seconds.
PATIENCE = 120.0
INTERVAL = 0.1

# The states of a cluster.
STARTING = "starting"
READY = "ready"
STOPPING = "stopping"


class Taken(Exception):
    """Another command is changing the cluster at the moment."""


class Claim:
    """The right to start or stop the cluster, and what is known about the cluster that was started last.

    The right is a lock on a file, which is released when its process ends in any way. The file's content is what is known about the
    cluster. The file exists as long as there may be something to clean up.
    """

    def __init__(self) -> None:
        self.file = -1

    def __enter__(self) -> "Claim":
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        if self.file >= 0:
            os.close(self.file)

    def take(self) -> "Claim":
        """Takes the right at once, or fails."""
        if not self.locked():
            raise Taken(f"another command is starting or stopping the cluster in {read(CLAIM).get('folder')}: wait for it")
        return self

    def take_over(self) -> "Claim":
        """Takes the right as soon as possible. An `up` that has it is asked to stop, and then cleans up."""
        deadline = time.monotonic() + PATIENCE
        asked = 0
        while not self.locked():
            note = read(CLAIM)
            pid = int(note.get("pid", 0))
            if note.get("state") == STARTING and pid != asked:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
                asked = pid
            if time.monotonic() > deadline:
                raise Taken(f"process {pid} has held the cluster for {PATIENCE:.0f} s: end it, then try again")
            time.sleep(INTERVAL)
        return self

    def locked(self) -> bool:
        """Locks the file. Returns false if another process has locked it."""
        file = os.open(CLAIM, os.O_RDWR | os.O_CREAT, 0o600)
        with contextlib.suppress(BlockingIOError, FileNotFoundError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The previous owner may have removed the file between these two steps.
            if os.stat(CLAIM).st_ino == os.fstat(file).st_ino:
                self.file = file
                return True
        os.close(file)
        return False

    def folder(self) -> Optional[Path]:
        """Returns the folder of the cluster that was started last, unless it was cleaned up."""
        folder = read(CLAIM).get("folder")
        return Path(folder) if folder else None

    def is_ready(self) -> bool:
        """Says whether the cluster that was started last has been ready."""
        return read(CLAIM).get("state") == READY

    def write(self, folder: Path, state: str) -> None:
        """Notes what this process is doing with a cluster."""
        os.ftruncate(self.file, 0)
        os.pwrite(self.file, json.dumps({"folder": str(folder), "state": state, "pid": os.getpid()}).encode(), 0)

    def remove(self) -> None:
        """Notes that there is no cluster, and nothing to clean up."""
        CLAIM.unlink()


def read(file: Path) -> dict[str, Any]:
    """Reads what another command has noted, which may be nothing yet."""
    try:
        return dict(json.loads(file.read_text()))
    except (FileNotFoundError, ValueError):
        return {}
