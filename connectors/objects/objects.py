"""Read, write, list and delete the objects below a URI.

An object appears when it is complete, and replaces the one before in one step: both S3 and Google Cloud
Storage state this. Lists show what was written before they were asked for.
"""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa
import pyarrow.fs as pafs

from connectors.errors import ObjectsError
from connectors.objects.names import without_secrets

_PIECE = 16 << 20
_UNESCAPED = re.compile(r"[^\x21-\x7e]+")
_OPTIONS = (
    ("s3:", "allow_delayed_open", "true"),
    ("gs:", "retry_limit_seconds", "10"),
    ("gcs:", "retry_limit_seconds", "10"),
)
_REMEDIES = (  # what a store answers, and what to do; the first that fits
    (
        r"INVALID_ACCESS_KEY|InvalidAccessKey|SIGNATURE|Signature|EXPIRED|UNAUTHENTICATED|access key",
        "check the credentials: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or a role",
    ),
    (
        r"ACCESS_DENIED|AccessDenied|PERMISSION_DENIED|HTTP response code: 403",
        "check the credentials, and their right to list, read, write and delete objects there",
    ),
    (
        r"NO_SUCH_BUCKET|NoSuchBucket|[Bb]ucket does not exist|NOT_FOUND",
        "create the bucket, or correct its name",
    ),
    (
        r"NETWORK_CONNECTION|curlCode|[Cc]ould not resolve|timed? ?out|UNAVAILABLE|503",
        "check that the server runs, and endpoint_override and scheme in the URI",
    ),
)


class Objects:
    """The objects below a URI, named by their path from there. Any thread may call it.

    Credentials are those of the environment, as pyarrow reads them. No message holds those of a URI.

    Args:
        uri: such as "s3://bucket/prefix?region=eu-central-1" or "gs://bucket/prefix".

    Raises:
        ObjectsError: the URI cannot be used.
    """

    def __init__(self, uri: str) -> None:
        self.uri = without_secrets(uri)
        try:
            self._system, path = pafs.FileSystem.from_uri(_completed(uri))
        except (pa.ArrowException, OSError, ValueError) as error:
            raise ObjectsError(
                f"{self.uri}: cannot be used: {self._told(error, uri)}; write a URI such as"
                " s3://bucket/prefix?region=eu-central-1 or gs://bucket/prefix"
            ) from error
        self._root = path.rstrip("/")
        if not self._root.strip("/"):
            raise ObjectsError(f"{self.uri}: names no bucket; write one such as s3://bucket/prefix")

    def list(self, folder: str) -> list[str]:
        """Return the names of all objects below a folder, sorted; none if there is no such folder."""
        return sorted(self.written(folder))

    def written(self, folder: str) -> dict[str, float]:
        """Return the names of all objects below a folder, and when each was written, as seconds."""
        start = len(self._root) + 1
        found = self._found(folder, is_deep=True)
        return {
            one.path[start:]: one.mtime.timestamp() if one.mtime is not None else 0.0
            for one in found
            if one.type == pafs.FileType.File
        }

    def top(self) -> Sequence[str]:
        """Return the names of objects and folders directly below the URI, sorted.

        On S3 what is in folders is not listed. So it takes a request, however many objects they hold. Of
        Google Cloud Storage pyarrow lists no folders, so there all objects are listed.
        """
        if self._system.type_name == "gcs":
            return sorted({one.partition("/")[0] for one in self.list("")})
        return sorted(one.base_name for one in self._found("", is_deep=False))

    def read(self, name: str) -> bytes | None:
        """Return the content of an object; None if there is none.

        If another process replaces the object meanwhile, its checksum may not fit. Then it is read once more.
        """
        try:
            return self._read(name)
        except ObjectsError as error:
            if "checksums mismatch" not in str(error):
                raise
            return self._read(name)

    def _read(self, name: str) -> bytes | None:
        try:
            with self._translated(f"cannot read {name}"), self._input(name) as stream:
                return bytes(stream.read())
        except FileNotFoundError:
            return None

    def tail(self, name: str, num_bytes: int) -> tuple[int, bytes]:
        """Return the size of an object and its last bytes. Raises FileNotFoundError if there is none."""
        with (
            self._translated(f"cannot read {name}"),
            self._system.open_input_file(f"{self._root}/{name}") as stream,
        ):
            size = stream.size()
            num = min(num_bytes, size)
            return size, bytes(stream.read_at(num, size - num))

    def write(self, name: str, content: bytes) -> None:
        """Write an object, in place of the one before. Returns when it is durable."""
        self._make_folder(name)
        with self._translated(f"cannot write {name}", is_known=False), self._output(name) as stream:
            stream.write(content)

    def upload(self, file: Path, name: str) -> None:
        """Write a file as an object. Returns when it is durable."""
        self._make_folder(name)
        with (
            file.open("rb") as source,
            self._translated(f"cannot write {name}", is_known=False),
            self._output(name) as stream,
        ):
            shutil.copyfileobj(source, stream, _PIECE)

    def download(self, name: str, file: Path) -> None:
        """Write an object to a file. Raises FileNotFoundError if there is no such object."""
        with (
            self._translated(f"cannot read {name}"),
            self._input(name) as stream,
            file.open("wb") as target,
        ):
            shutil.copyfileobj(stream, target, _PIECE)

    def remove(self, name: str) -> None:
        """Delete an object; there may be none."""
        with contextlib.suppress(FileNotFoundError), self._translated(f"cannot delete {name}"):
            self._system.delete_file(f"{self._root}/{name}")

    def _found(self, folder: str, *, is_deep: bool) -> Sequence[pafs.FileInfo]:
        place = f"{self._root}/{folder}".rstrip("/")
        selector = pafs.FileSelector(place, recursive=is_deep, allow_not_found=True)
        with self._translated(f"cannot list {folder or 'objects'}"):
            found: Sequence[pafs.FileInfo] = self._system.get_file_info(selector)
        return found

    def _make_folder(self, name: str) -> None:
        """Make the folder of a file: a share that is mounted has folders, and an object storage has none."""
        if self._system.type_name == "local":
            with self._translated(f"cannot write {name}", is_known=False):
                self._system.create_dir(f"{self._root}/{name}".rpartition("/")[0])

    def _input(self, name: str) -> pa.NativeFile:
        return self._system.open_input_stream(f"{self._root}/{name}")

    def _output(self, name: str) -> pa.NativeFile:
        return self._system.open_output_stream(f"{self._root}/{name}")

    @contextlib.contextmanager
    def _translated(self, what: str, *, is_known: bool = True) -> Iterator[None]:
        """Raise ObjectsError for what the store answers.

        FileNotFoundError stays what it is, if the object should be known. Else the bucket is missing.
        """
        try:
            yield
        except (pa.ArrowException, OSError) as error:
            if is_known and isinstance(error, FileNotFoundError):
                raise
            told = self._told(error, self.uri)
            remedy = next((text for pattern, text in _REMEDIES if re.search(pattern, told)), "")
            raise ObjectsError(f"{self.uri}: {what}: {told}{'; ' if remedy else ''}{remedy}") from error

    def _told(self, error: Exception, uri: str) -> str:
        return str(error).partition("\n")[0].replace(uri, self.uri).rstrip(". ")


def _completed(uri: str) -> str:
    """Return the URI with options where it has none, and with letters outside of ASCII escaped.

    With S3, small objects then need one request, not the three of a large one. With Google Cloud Storage,
    pyarrow would try for 15 minutes before it states that a server does not answer.
    """
    uri = _UNESCAPED.sub(lambda found: quote(found.group()), uri)
    for scheme, option, value in _OPTIONS:
        if uri.startswith(scheme) and option not in uri:
            return f"{uri}{'&' if '?' in uri else '?'}{option}={value}"
    return uri
