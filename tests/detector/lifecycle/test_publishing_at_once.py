"""Several real processes change one registry at once, and some are killed in the middle of it."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

from detector.artifact.registry import open_artifact, publish
from detector.artifact.storage import load
from detector.journal import FIRST
from detector.lifecycle.versions import registered
from tests.support.artifacts import make_artifact

ROOT = Path(__file__).parents[3]
WORKER = """
import sys
from pathlib import Path
from detector.artifact.registry import propose, publish
from detector.journal import Note
from tests.support.artifacts import make_artifact
entry, first, num = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
artifacts = [make_artifact(seed=first + at) for at in range(num)]
print("ready", flush=True)
sys.stdin.readline()
for verb, artifact in zip((propose, *(publish,) * num), artifacts):
    print(verb(artifact, entry, Note(str(first))).version, flush=True)
"""


def worker(entry: Path, first: int, num: int) -> subprocess.Popen[str]:
    """A process that waits for a line, proposes a version, and publishes others up to `num` in all."""
    command = [sys.executable, "-c", WORKER, str(entry), str(first), str(num)]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def started(workers: list[subprocess.Popen[str]]) -> None:
    """Wait until all are ready, then let them go."""
    for one in workers:
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
    for one in workers:
        assert one.stdin is not None
        one.stdin.write("\n")
        one.stdin.flush()


def test_two_publishers_at_once_agree_on_the_first_version_and_every_promotion_is_recorded(
    tmp_path: Path,
) -> None:
    entry = tmp_path / "pump"
    workers = [worker(entry, first, 4) for first in (0, 10)]
    started(workers)
    versions = [one.communicate(timeout=60)[0].split() for one in workers]
    assert [one.returncode for one in workers] == [0, 0]
    found = registered(entry)
    assert {one.name for one in found.versions} == {name for names in versions for name in names}
    moves = [one for one in found.journal.events if one.action == "promoted"]
    assert [one.why == FIRST for one in moves].count(True) == 1, "of two first versions one is in use"
    assert (len(moves), found.journal.num_damaged) == (7, 0)
    assert [one.before for one in moves] == ["", *(one.version for one in moves[:-1])]
    assert open_artifact(entry).version == moves[-1].version
    never = {one.name for one in found.versions} - {one.version for one in moves}
    assert {one.name for one in found.candidates} == never


def test_a_publisher_that_is_killed_leaves_complete_versions_and_a_record_of_what_is_in_use(
    tmp_path: Path,
) -> None:
    entry = tmp_path / "pump"
    one = worker(entry, 100, 60)
    started([one])
    assert one.stdout is not None
    first, *_ = [one.stdout.readline().strip() for _ in range(random.randint(1, 9))]
    one.kill()  # while it publishes the next one
    one.communicate()
    found = registered(entry)
    for version in found.versions:
        assert load(entry / version.name).version == version.name
    assert found.current is not None
    assert "promoted" in [event.action for event in found.current.events]
    assert found.journal.num_damaged == 0
    assert first in {version.name for version in found.versions}
    last = publish(make_artifact(seed=7_000), entry).version
    assert open_artifact(entry).version == last, "the lock of the dead process is gone"
    assert [path.name for path in entry.iterdir() if ".new" in path.name] == []
