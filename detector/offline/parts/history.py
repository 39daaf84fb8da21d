"""The files of a data set for workers: on a disk that all share, or copied from object storage."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from connectors.errors import ConnectorError, ObjectsError, ParquetError
from connectors.objects.names import is_remote, local_path, without_secrets
from connectors.objects.objects import Objects
from connectors.parquet.dataset import Dataset
from detector.artifact.spec import Spec
from detector.errors import DetectorError
from detector.offline.history_files import history_for

_TAIL_BYTES = 1 << 16
_LENGTH_BYTES, _MAGIC = 8, b"PAR1"
"""A Parquet file ends with its footer, the length of that in four bytes, and these four."""


@dataclass(frozen=True, slots=True)
class History:
    """A data set, and where its files are. It can be pickled.

    dataset  its files are those to read; of an object storage they are footers below `root`
    uri      the object storage; None: the files are on a disk that all workers share
    root     directory of the footers, which only the process that found them has
    """

    dataset: Dataset
    uri: str | None = None
    root: Path = Path()

    @contextmanager
    def near(self, files: Sequence[Path]) -> Iterator[Dataset]:
        """Give the data set of some of its files; copies of these are removed afterwards.

        Raises:
            ConnectorError: A file cannot be copied, or whatever the block raises; it names the object.
        """
        if self.uri is None:
            yield replace(self.dataset, files=tuple(files))
            return
        objects = Objects(self.uri)
        with tempfile.TemporaryDirectory(prefix="streamgauge-part-") as folder:
            copies = {file: Path(folder) / file.relative_to(self.root) for file in files}
            try:
                for file, copy in copies.items():
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    objects.download(file.relative_to(self.root).as_posix(), copy)
                series = {copy: self.dataset.series[file] for file, copy in copies.items()}
                yield replace(self.dataset, files=tuple(copies.values()), series=series)
            except ObjectsError:
                raise  # the outside world failed, not the file
            except ConnectorError as error:
                raise ParquetError(str(error).replace(f"{folder}/", f"{objects.uri}: ")) from error
            except FileNotFoundError as error:
                raise ParquetError(f"{objects.uri}: an object has vanished: {error}") from error


@contextmanager
def history_at(spec: Spec, data: str) -> Iterator[History]:
    """Give the history that a model is shown, from a path or the URI of an object storage.

    Of an object storage only the footers of Parquet files are read here.

    Raises:
        ConnectorError, DetectorError: The files cannot be read, or do not fit the model.
    """
    if not is_remote(data):
        yield History(history_for(spec, Path(local_path(data)).absolute()))
        return
    objects = Objects(data)
    names = [name for name in objects.list("") if _is_table(name)]
    if not names:
        raise DetectorError(
            f"{objects.uri}: no *.parquet object there; other forms are read from a disk only"
        )
    with tempfile.TemporaryDirectory(prefix="streamgauge-footers-") as folder:
        for name in names:
            keep_footer(objects, name, Path(folder, name))
        try:
            dataset = history_for(spec, folder)
        except ConnectorError as error:
            raise ParquetError(str(error).replace(folder, without_secrets(data))) from error
        yield History(dataset, data, Path(folder))


def _is_table(name: str) -> bool:
    hidden = any(part.startswith(("_", ".")) for part in name.split("/"))
    return name.lower().endswith(".parquet") and not hidden


def keep_footer(objects: Objects, name: str, file: Path) -> None:
    """Write a file of the size of an object of Parquet, with a hole where its rows would be.

    Its schema and numbers of rows can be read, and no rows. Raises ObjectsError.
    """
    size, tail = objects.tail(name, _TAIL_BYTES)
    if tail[-len(_MAGIC) :] == _MAGIC and size > _LENGTH_BYTES:
        length = int.from_bytes(tail[-_LENGTH_BYTES : -len(_MAGIC)], "little") + _LENGTH_BYTES
        if length > len(tail):
            size, tail = objects.tail(name, length)
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as target:
        target.write(_MAGIC[: size - len(tail)])
        target.truncate(size)
        target.seek(size - len(tail))
        target.write(tail)
