"""Decodes each topic in a form of its own."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

import numpy as np
from numpy.typing import NDArray

from connectors.records import Codec, Decoded, RawColumns, Readings


class TopicCodecs:
    """A `Codec` of several. Readings of one form stand together; those of a topic keep their order.

    Args:
        own: names and shell patterns of topics, each with the codec of their messages; the first one counts.
        other: the codec of all other topics, for the same channels.
    """

    def __init__(self, own: Sequence[tuple[Sequence[str], Codec]], other: Codec) -> None:
        self.channels = other.channels
        self._patterns = [topics for topics, _ in own]
        self._codecs = [*(codec for _, codec in own), other]
        self._of_topic: dict[str, int] = {}

    def decode_columns(self, raw: RawColumns) -> Decoded:
        """Decode messages in order of arrival. Raises what a codec raises that must wait."""
        which = np.fromiter(map(self._number, raw.topic), np.intp, len(raw))
        present = np.unique(which).tolist() or [len(self._codecs) - 1]
        if len(present) == 1:
            only: Codec = self._codecs[present[0]]
            return only.decode_columns(raw)
        parts = [(self._codecs[one], np.flatnonzero(which == one)) for one in present]
        return _joined([codec.decode_columns(_rows_of(raw, rows)) for codec, rows in parts])

    def _number(self, topic: str) -> int:
        """Return which codec a topic has."""
        found = self._of_topic.get(topic)
        if found is None:
            wanted = (at for at, topics in enumerate(self._patterns) if _is_of(topics, topic))
            found = self._of_topic[topic] = next(wanted, len(self._patterns))
        return found


def _is_of(patterns: Sequence[str], topic: str) -> bool:
    return any(fnmatchcase(topic, one) for one in patterns)


def _rows_of(raw: RawColumns, rows: NDArray[np.intp]) -> RawColumns:
    chosen = rows.tolist()
    return RawColumns(
        [raw.topic[at] for at in chosen],
        raw.partition[rows],
        raw.offset[rows],
        raw.timestamp_ms[rows],
        [raw.key[at] for at in chosen],
        [raw.value[at] for at in chosen],
        [raw.headers[at] for at in chosen],
    )


def _joined(parts: Sequence[Decoded]) -> Decoded:
    """Return what several codecs decoded, one after the other."""
    readings = [one.readings for one in parts]
    names = {name: None for one in readings for name in one.names}
    code = {name: at for at, name in enumerate(names)}
    series = [np.array([code[name] for name in one.names], np.int32)[one.series] for one in readings]
    strangers: dict[str, int] = {}
    for one in parts:
        for name, messages in one.strangers.items():
            strangers[name] = strangers.get(name, 0) + messages
    joined = Readings(
        tuple(names),
        np.concatenate(series),
        np.concatenate([one.timestamp_ns for one in readings]),
        np.concatenate([one.values for one in readings]),
        np.concatenate([one.partition for one in readings]),
        np.concatenate([one.offset for one in readings]),
    )
    rejects = tuple(reject for one in parts for reject in one.rejects)
    unknown = sum(one.unknown_values for one in parts)
    return Decoded(joined, rejects, unknown, strangers)
