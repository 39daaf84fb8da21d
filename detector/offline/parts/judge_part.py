"""What a worker of a cluster does for a backtest: find the series of a file, and judge a part."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from connectors.errors import ConnectorError
from connectors.parquet.reader import CHUNK_ROWS, read_file
from detector.artifact.spec import Artifact
from detector.delivery.unassigned import Admission
from detector.engine.engine import Engine, EngineOptions
from detector.errors import DetectorError
from detector.offline.backtest import Given, found_in
from detector.offline.parts.found import Found
from detector.offline.parts.history import History
from detector.offline.parts.partition import Part
from detector.offline.parts.score_files import ScoreFiles

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Replay:
    """Hold what every part of a backtest needs; it is pickled.

    artifact  the model
    history   the data
    options   of the engine; each worker uses one thread
    given     decisions, and which series are judged
    scores    where verdicts go; None: nowhere
    """

    artifact: Artifact
    history: History
    options: EngineOptions
    given: Given
    scores: ScoreFiles | None = None


@dataclass(frozen=True, slots=True)
class PartResult:
    """Hold what a part found, or the reason why it failed; and the name of its verdicts."""

    part: Part
    found: Found | str
    scores: str | None = None


def series_of_file(file: Path, history: History) -> tuple[Path, Mapping[str, int]]:
    """Return how many rows of each series a file has. Raises ConnectorError if it cannot be read."""
    num: Counter[str] = Counter()
    with history.near([file]) as dataset:
        bare = replace(dataset, channels=(), has_label=False, has_split=False)
        for chunk in read_file(dataset.files[0], bare, CHUNK_ROWS):
            counts = np.bincount(chunk.series, minlength=len(chunk.names)).tolist()
            num.update(dict(zip(chunk.names, counts, strict=True)))
    return file, dict(num)


def judge_part(part: Part, replay: Replay) -> PartResult:
    """Replay the series of a part through an engine of their own. Whatever fails becomes a reason."""
    try:
        return _judged(part, replay)
    except (ConnectorError, DetectorError) as error:
        return PartResult(part, str(error))
    except MemoryError:
        return PartResult(part, "not enough memory")
    except Exception as error:  # whatever fails costs this part only
        logger.warning("%s cannot be judged", part.words(), exc_info=error)
        return PartResult(part, f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")


def killed_part(part: Part) -> PartResult:
    """Return the result of a part whose workers were killed."""
    return PartResult(part, "its worker was killed, again and again: not enough memory?")


def _judged(part: Part, replay: Replay) -> PartResult:
    engine = Engine(replay.artifact, replace(replay.options, threads=1))
    own = frozenset(part.series)
    engine.decide([(at, one) for at, one in enumerate(replay.given.decisions) if one.series in own])
    admission = Admission(replay.given.series, replay.given.least_channels, most_logged=0)
    target = nullcontext((None, None)) if replay.scores is None else replay.scores.new(part.number)
    with replay.history.near(part.files) as dataset, target as (name, file):
        found = found_in(replace(dataset, only=own, num_rows=part.num_rows), engine, admission, file)
    return PartResult(part, found, name if found.judged.num else None)
