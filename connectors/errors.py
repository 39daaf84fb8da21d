"""Errors of connectors.

    ConnectorError
    ├── ParquetError      a file, its schema or its rows cannot be used
    │   └── CsvError      the same of a CSV file; the message has the line
    ├── CodecError        the codec itself is misconfigured (a bad message is a `Reject`, not an error)
    ├── WaitingError      messages cannot be decoded yet, because something outside does not answer
    ├── ObjectsError      objects below a URI cannot be listed, read, written or deleted
    ├── EndpointError     the URL or the TLS files of a receiver cannot be used
    ├── StateError        the directory of a daemon without Kafka cannot be read or written
    ├── FilesError        files cannot be read or written as input or output of a daemon
    ├── MqttError         the broker of MQTT cannot be reached or refuses access
    └── KafkaError        the broker cannot be reached or refuses access
        └── RightMissingError   this login lacks a right that an administrator can give

Every message names the place (file, field, topic), what was found and a remedy. The command line prints it
as one line, and exits with 2 (wrong input) or 1 (the outside world failed).
"""

from collections.abc import Mapping


class ConnectorError(Exception):
    """Base of all errors that a connector raises."""


class ParquetError(ConnectorError):
    """A Parquet file, its schema or its rows cannot be used; the message names the file."""


class CsvError(ParquetError):
    """A CSV file cannot be read as a table; the message names the file and, where one is known, the line."""


class CodecError(ConnectorError):
    """The codec is configured in a way that cannot decode anything."""


class WaitingError(ConnectorError):
    """Messages cannot be decoded yet: what they need cannot be fetched now. Nothing is wrong with them.

    begins          (topic, partition) -> offset of the first message that has to wait
    retry_seconds   time until another attempt makes sense
    """

    def __init__(
        self, message: str, begins: Mapping[tuple[str, int], int] | None = None, retry_seconds: float = 0.0
    ) -> None:
        super().__init__(message)
        self.begins, self.retry_seconds = dict(begins or {}), retry_seconds


class ObjectsError(ConnectorError):
    """Objects of an object storage cannot be listed, read, written or deleted; the message names the URI."""


class EndpointError(ConnectorError):
    """A receiver's URL or TLS files cannot be used; the message holds no secret."""


class StateError(ConnectorError):
    """The local state of a daemon cannot be read or written; the message names the directory."""


class FilesError(ConnectorError):
    """A file cannot be read as input or written as output; the message names the file."""


class MqttError(ConnectorError):
    """The broker of MQTT cannot be reached or refuses the request; the message names it."""


class KafkaError(ConnectorError):
    """The Kafka cluster cannot be reached or refuses the request; the message names it."""


class RightMissingError(KafkaError):
    """The broker refused because this login lacks a right. Another attempt succeeds once it is given.

    right      "read" or "write"
    resource   what it is missing on, such as "topic readings"
    """

    def __init__(self, message: str, right: str, resource: str) -> None:
        super().__init__(message)
        self.right, self.resource = right, resource


class TransactionAbortedError(KafkaError):
    """Nothing of a batch is known to be committed: read again from the committed offsets.

    `is_fenced` is true if the broker refused because a newer producer uses our transactional id.
    """

    def __init__(self, message: str, *, is_fenced: bool = False) -> None:
        super().__init__(message)
        self.is_fenced = is_fenced


class TransactionsUnsupportedError(KafkaError):
    """The cluster has no transactions, or this login may not use them."""
