#!/usr/bin/env python3
"""Runs a command, and says what is being compiled whenever the command has printed nothing for some seconds: progress.py COMMAND [ARGUMENT...]

A compiler prints nothing while it works on a large crate, which can take minutes, and cargo hides what a build script builds. The command's
output passes through unchanged, and its exit status is this program's. On a terminal, each such line is replaced by what comes next.
"""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import BinaryIO, Iterator, Optional

# How long a command may be silent before something is said, in seconds.
PATIENCE = 5
# The most names in a line.
NAMES = 3

ERASE = b"\r\x1b[K"


class Terminal:
    """Where the command's output and the lines in between are written."""

    def __init__(self) -> None:
        self.is_terminal = sys.stderr.isatty()
        self.lock = threading.Lock()
        self.heard = time.monotonic()
        self.is_line_open = False
        self.is_erasable = False

    def forward(self, source: BinaryIO, to: int) -> None:
        """Passes on what the command prints, until its end."""
        while data := os.read(source.fileno(), 1 << 16):
            with self.lock:
                self.erase()
                write(to, data)
                self.heard = time.monotonic()
                self.is_line_open = not data.endswith(b"\n")

    def say(self, text: str) -> None:
        """Writes a line, unless the command has just printed something, or is in the middle of a line, which it gets more time for."""
        with self.lock:
            silence = time.monotonic() - self.heard
            if silence < (2 * PATIENCE if self.is_line_open else PATIENCE):
                return
            self.erase()
            if self.is_line_open:
                write(2, b"\n")
                self.is_line_open = False
            if self.is_terminal:
                # The next one follows in a second, so that the time can be seen to pass.
                write(2, shortened(text).encode())
                self.is_erasable = True
            else:
                write(2, text.encode() + b"\n")
                self.heard = time.monotonic()

    def erase(self) -> None:
        """Removes the last line that was said."""
        if self.is_erasable:
            write(2, ERASE)
            self.is_erasable = False


def write(to: int, data: bytes) -> None:
    """Writes everything. If nobody reads, the command goes on without being heard, as it would behind `| head`."""
    while data:
        try:
            data = data[os.write(to, data) :]
        except BrokenPipeError:
            return


def shortened(text: str) -> str:
    """Returns what fits in a line of the terminal."""
    try:
        # Some terminals do not know their size.
        return text[: (os.get_terminal_size(2).columns or len(text) + 1) - 1]
    except OSError:
        return text


def main(command: list[str]) -> int:
    """Runs the command, and returns the exit status."""
    begun = time.monotonic()
    terminal = Terminal()
    colours = {"CARGO_TERM_COLOR": "always"} if terminal.is_terminal and "NO_COLOR" not in os.environ else {}
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**colours, **os.environ})
    except OSError as error:
        print(f"progress.py: {command[0]} cannot be run: {error.strerror}", file=sys.stderr)
        return 127
    assert process.stdout is not None and process.stderr is not None
    for number in (signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, lambda number, _: process.send_signal(number))
    readers = [
        threading.Thread(target=terminal.forward, args=(source, to), daemon=True) for source, to in ((process.stdout, 1), (process.stderr, 2))
    ]
    for reader in readers:
        reader.start()
    while True:
        try:
            status = process.wait(1)
            break
        except subprocess.TimeoutExpired:
            terminal.say(f"    {spent(time.monotonic() - begun)}: {working(process.pid)}")
        except KeyboardInterrupt:
            # The command got the signal, too.
            status = process.wait()
            break
    for reader in readers:
        # A process that the command has left behind may hold the pipe for ever.
        reader.join(1)
    with terminal.lock:
        terminal.erase()
    return status if status >= 0 else 128 - status


def spent(seconds: float) -> str:
    """Writes a duration as a person would."""
    minutes, seconds = divmod(int(seconds), 60)
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def working(process: int) -> str:
    """Says what the compilers among the process's descendants are working on."""
    names = sorted({name for descendant in descendants(process) if (name := compiled(descendant))})
    if not names:
        return "still at work"
    more = f" and {len(names) - NAMES} more" if len(names) > NAMES else ""
    return f"compiling {', '.join(names[:NAMES])}{more}"


def descendants(process: int) -> Iterator[int]:
    """Finds a process's children, their children, and so on. There are none where there is no /proc."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # A name may contain spaces and parentheses.
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            continue
        children.setdefault(parent, []).append(int(stat.parent.name))
    waiting = [process]
    while waiting:
        found = children.get(waiting.pop(), [])
        yield from found
        waiting += found


def compiled(process: int) -> Optional[str]:
    """Returns what a process compiles or links, if it is a compiler of Rust, C or Go."""
    try:
        words = Path(f"/proc/{process}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return None
    program = Path(words[0]).name
    option = {"rustc": "--crate-name", "clippy-driver": "--crate-name", "rustdoc": "--crate-name", "compile": "-p"}.get(program)
    if option and option in words[:-1]:
        return words[words.index(option) + 1]
    if re.fullmatch(r"(clang|gcc|cc1|cc)(-\d+)?", program):
        return next((Path(word).name for word in words if word.endswith((".c", ".S"))), None)
    return f"a program ({program})" if program in ("link", "rust-lld", "lld", "ld", "ld.lld") else None


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1:]))
