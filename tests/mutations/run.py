#!/usr/bin/env python3
"""Shows that the tests of the client's state machines catch mistakes in them: `just mutations`.

Each mutation is made in a copy of the repository, whose tests must then fail. Arguments name the mutations to make; the default is all.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COPY = ROOT / "target/mutations/tree"
SOURCE = Path("guest/client/src")

# How many schedules to try: each mutation is caught by fewer.
SCHEDULES = "20000"

# Each mutation: a name, a file, a text that it contains exactly once, and the replacement.
MUTATIONS = (
    ("lost-position", "changes.rs", "Position::After(resource_version) };", "Position::After(\"1\".into()) };"),
    ("skipped-wait", "asking.rs", "return Do::Next(Todo::Wait(after(now.instant, wait)));", "return self.look_for_token(false);"),
    ("retry-after-ignored", "asking.rs", "let wait = asked + retry::backoff", "let wait = asked * 0 + retry::backoff"),
    ("token-not-read-again", "asking.rs", "return self.look_for_token(true);", "return self.look_for_token(false);"),
    ("token-read-again-for-ever", "asking.rs", "self.reloaded = true;", "self.reloaded = false;"),
    ("deadline-forgotten", "asking.rs", "after(self.begun, self.time_allowed())", "after(self.begun, self.time_allowed() * 2)"),
    ("attempts-not-counted", "asking.rs", "self.attempts += 1;", "self.attempts += 0;"),
    ("never-synced", "changes.rs", "if is_initial { Change::Synced(resource_version) } else", "if false { Change::Synced(resource_version) } else"),
    ("cut-among-initial-events-ignored", "changes.rs", "Decoded::Cut if self.position ==", "Decoded::Cut if false && self.position =="),
    ("frames-outlive-their-connection", "changes.rs", "stream.body = Some(body),", "(stream.body, stream.frames) = (Some(body), Frames::new(encoding)),"),
    ("gone-is-an-error", "changes.rs", "if matches!(failure.error, Error::Expired(_)) => self.arrive", "if false && matches!(failure.error, Error::Expired(_)) => self.arrive"),
    ("fruitless-connections-not-counted", "trouble.rs", "self.fruitless += 1;", "self.fruitless = 0;"),
    ("no-wait-between-connections", "changes.rs", "self.connection = Connection::Waiting(", "let _ = Connection::<B>::Waiting("),
    ("unmarked-end-not-noticed", "changes.rs", "Decoded::Bookmark { initial_events_end, .. } => !initial_events_end,", "Decoded::Bookmark { .. } => false,"),
    ("malformed-among-initial-events-ignored", "changes.rs", "                        self.cut();\n", ""),
    ("list-from-another-version", "watch.rs", "self.changes.go_on_after(version.clone());", "self.changes.go_on_after(\"1\".into());"),
    ("time-of-a-watch-ignored", "end.rs", "End::At(end) => Some(*end),", "End::At(_) => None,"),
    ("answers-of-two-attempts-joined", "call.rs", "*self = Json { whole: Vec::new(), most:", "*self = Json { whole: std::mem::take(&mut self.whole), most:"),
    ("late-body-is-its-end", "call.rs", "Event::TimeOver => Err(phase.late()),", "Event::TimeOver => Ok(Do::HandOut(Ok(sink.end()?))),"),
    ("lost-body-is-its-end", "call.rs", "Event::Failed(error) => Err(error),", "Event::Failed(_) => Ok(Do::HandOut(Ok(sink.end()?))),"),
)


def copy() -> None:
    """Copies the files that git tracks or would add, so that no mutation is made in the working tree."""
    names = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True)
    for name in filter(None, names.stdout.decode().split("\0")):
        source, place = ROOT / name, COPY / name
        if source.is_file() and not (place.is_file() and place.read_bytes() == source.read_bytes()):
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, place)


def test() -> "subprocess.CompletedProcess[str]":
    """Runs the tests of schedules in the copy."""
    command = ["cargo", "test", "--quiet", "--release", "--locked", "--package", "incluster-client", "--lib", "schedules"]
    environment = {"CARGO_TARGET_DIR": str(COPY.parent / "build"), **os.environ, "SCHEDULES": SCHEDULES}
    return subprocess.run(command, cwd=COPY, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def main() -> int:
    """Makes the mutations one by one, and returns the exit status."""
    for name, file, old, _ in MUTATIONS:
        found = (ROOT / SOURCE / file).read_text().count(old)
        if found != 1:
            print(f"{name}: {file} contains this text {found} times: {old}")
            return 1
    copy()
    unchanged = test()
    if unchanged.returncode:
        print(unchanged.stdout)
        return 1
    missed = []
    for name, file, old, new in MUTATIONS:
        if sys.argv[1:] and name not in sys.argv[1:]:
            continue
        path = COPY / SOURCE / file
        content = path.read_text()
        try:
            path.write_text(content.replace(old, new))
            done = test()
        finally:
            path.write_text(content)
        caught = "panicked at" in done.stdout
        why = done.stdout.partition("panicked at")[2].partition("\n")[2].partition("\n")[0]
        print(f"{name}: {'caught: ' + why if caught else 'NOT CAUGHT'}")
        if not caught:
            missed.append(name)
            if done.returncode:
                print(done.stdout)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
