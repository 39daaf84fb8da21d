"""Where workers write the verdicts of parts until all are there: beside the output."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from connectors.objects.names import is_remote, local_path
from connectors.objects.objects import Objects
from connectors.parquet.writer import join_files
from detector.errors import DetectorError


@dataclass(frozen=True, slots=True)
class ScoreFiles:
    """The files of verdicts of one backtest. It can be pickled.

    Each try to judge a part writes a file of its own name, and only the name that is returned counts. So two
    workers with the same part do no harm.

    place   the output: a directory, or the URI of an object storage
    folder  a name that only this backtest uses there; hidden from readers of data
    """

    place: str
    folder: str

    @contextmanager
    def new(self, number: int) -> Iterator[tuple[str, Path]]:
        """Give a name for the verdicts of a part and the path to write; it counts after the block."""
        name = f"{self.folder}/{number:06d}-{uuid4().hex}.parquet"
        if not is_remote(self.place):
            yield name, Path(local_path(self.place), name)
            return
        with tempfile.TemporaryDirectory(prefix="streamgauge-scores-") as folder:
            file = Path(folder, "scores.parquet")
            yield name, file
            if file.exists():
                Objects(self.place).upload(file, name)

    def join(self, names: Sequence[str], out: Path) -> None:
        """Write the verdicts of these names into one file. Raises DetectorError if one is not seen here."""
        if is_remote(self.place):
            join_files(self._copies(names), out)
            return
        files = [Path(local_path(self.place), name) for name in names]
        for file in files:
            if not file.exists():
                raise DetectorError(
                    f"{file}: a worker wrote it, and it is not seen here; --out must be on a disk that all"
                    " workers share, or on object storage"
                )
        join_files(files, out)

    def _copies(self, names: Sequence[str]) -> Iterator[Path]:
        """Yield a copy of each object, which is gone when the next one is asked for."""
        objects = Objects(self.place)
        with tempfile.TemporaryDirectory(prefix="streamgauge-scores-") as folder:
            for name in names:
                file = Path(folder, "scores.parquet")
                try:
                    objects.download(name, file)
                except FileNotFoundError as error:
                    raise DetectorError(f"{objects.uri}: {name} has vanished") from error
                yield file

    def remove(self) -> None:
        """Delete what the workers wrote."""
        if not is_remote(self.place):
            shutil.rmtree(Path(local_path(self.place), self.folder), ignore_errors=True)
            return
        objects = Objects(self.place)
        for name in objects.list(self.folder):
            objects.remove(name)


def score_files_in(place: str) -> ScoreFiles:
    """Return the files of a new backtest."""
    return ScoreFiles(place, f".parts-{uuid4().hex[:12]}")
