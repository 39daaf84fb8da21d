"""Damaged inputs from valid ones, bytes and JSON values. Everything follows from the generator given."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Sequence
from typing import Any

TOKENS: tuple[bytes, ...] = (
    *(b'"', b"\\", b"{", b"}", b"[", b"]", b":", b",", b"=", b"#", b"'", b"\n", b"\r", b"\x00", b"\x7f"),
    *(b"null", b"true", b"false", b"NaN", b"Infinity", b"-Infinity", b"inf", b"nan", b"-0", b"0x", b"1e5"),
    *(b"1e308", b"1e309", b"-1e400", b"1e-400", b"9007199254740993", b"9223372036854775807", b"9" * 19),
    *(
        b"9223372036854775808",
        b"-9223372036854775809",
        b"9" * 40,
        b"9" * 400,
        b"9" * 5_000,
        b"0." + b"3" * 900,
    ),
    *(b"0x" + b"f" * 4_000, b"1767225600000", b"1767225600", b"2026-01-01T00:00:00Z", b"0001-01-01"),
    *(b"9999-12-31T23:59:59.999999+23:59", b"2026-01-01T00:00:00+99:99", b"2026-W01-1", b"24:00", b"-5m"),
    *(
        b"\\u0000",
        b"\\ud800",
        b"\\udfff\\ud800",
        b"\\x",
        b"\xff",
        b"\xc0\x80",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
    ),
    *(
        "é".encode(),
        "\u2028".encode(),
        "\U0001f600".encode(),
        b"\xef\xbb\xbf",
        b"$.timestamp`",
        b"of length >=",
    ),
    *(
        b'"series":',
        b'"timestamp":',
        b'"values":',
        b'"values":{}',
        b'"temperature":',
        b"[kafka]",
        b"[[model]]",
    ),
    *(b"[model.path]", b"{}", b"[]", b'""', b"''''", b'"""', b"a.b.c=1", b"PAR1", b"1w", b"9" * 320 + b"d"),
)
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -0.0, 1, -1, 2, 3, 7, 0.5, -0.5, 1e-320, 1e308, -1e308, 10**9, 2**31, 2**32),
    *(
        2**53 + 1,
        2**63 - 1,
        2**63,
        -(2**63),
        2**64,
        10**30,
        10**400,
        float("nan"),
        float("inf"),
        -float("inf"),
    ),
    *(
        "",
        "x",
        "score",
        "real",
        "1",
        "null",
        "\u0000",
        "\ud800",
        "é\u2028",
        "x" * 70_000,
        "../..",
        "2026-01-01",
    ),
    *(
        [],
        {},
        [[]],
        [None],
        [{}],
        {"": None},
        {"id": 1},
        [1, "2", 3.0],
        {"series": "a", "values": {}},
        "Infinity",
    ),
)
_DEEP = (b"[" * 300, b"{" * 300, b'{"a":' * 2_000, b"[" * 100_000, b"[" * 3_000 + b"]" * 3_000)


class ByteMutator:
    """Bytes with one to four of: flipped bits, other bytes, tokens, cuts, repeats, splices, nesting."""

    def __init__(self, rng: random.Random, corpus: Sequence[bytes]) -> None:
        self._rng = rng
        self._corpus = list(corpus)
        self._steps: list[Callable[[bytearray], None]] = [
            self._flip,
            self._flip,
            self._replace,
            self._insert_token,
            self._insert_token,
            self._overwrite_token,
            self._overwrite_token,
            self._truncate,
            self._delete,
            self._repeat,
            self._splice,
            self._random_run,
        ]

    def __call__(self) -> bytes:
        """One damaged input."""
        data = bytearray(self._rng.choice(self._corpus))
        for _ in range(self._rng.choice((1, 1, 1, 2, 2, 3, 4))):
            self._rng.choice(self._steps)(data)
        if self._rng.random() < 0.004:
            at = self._at(data)
            data[at:at] = self._rng.choice(_DEEP)
        return bytes(data)

    def _at(self, data: bytearray) -> int:
        return self._rng.randrange(len(data) + 1)

    def _flip(self, data: bytearray) -> None:
        if data:
            data[self._rng.randrange(len(data))] ^= 1 << self._rng.randrange(8)

    def _replace(self, data: bytearray) -> None:
        if data:
            data[self._rng.randrange(len(data))] = self._rng.randrange(256)

    def _insert_token(self, data: bytearray) -> None:
        at = self._at(data)
        data[at:at] = self._rng.choice(TOKENS)

    def _overwrite_token(self, data: bytearray) -> None:
        """A token in the place of a word, so that what surrounds it stays valid."""
        at = start = stop = self._at(data)
        while start > 0 and chr(data[start - 1]).isalnum() and at - start < 64:
            start -= 1
        while stop < len(data) and chr(data[stop]).isalnum() and stop - at < 64:
            stop += 1
        data[start:stop] = self._rng.choice(TOKENS)

    def _truncate(self, data: bytearray) -> None:
        del data[self._at(data) :]

    def _delete(self, data: bytearray) -> None:
        at = self._at(data)
        del data[at : at + self._rng.randrange(1, 33)]

    def _repeat(self, data: bytearray) -> None:
        at, length = self._at(data), self._rng.randrange(1, 33)
        data[at:at] = data[at : at + length] * self._rng.choice((1, 1, 2, 8))

    def _splice(self, data: bytearray) -> None:
        other = self._rng.choice(self._corpus)
        data[self._at(data) :] = other[self._rng.randrange(len(other) + 1) :]

    def _random_run(self, data: bytearray) -> None:
        at = self._at(data)
        data[at : at + 8] = self._rng.randbytes(self._rng.randrange(1, 9))


class JsonMutator:
    """JSON values with one to three of: another value, a lost, renamed, doubled or new entry, a swap."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def __call__(self, value: Any) -> Any:
        """A damaged copy."""
        root = {"": copy.deepcopy(value)}
        for _ in range(self._rng.choice((1, 1, 1, 2, 3))):
            self._change(root)
        return root.get("")

    def _change(self, root: dict[str, Any]) -> None:
        places = list(_places(root))
        if not places:
            return
        holder, key = self._rng.choice(places)
        kind = self._rng.randrange(10)
        if kind < 6:
            holder[key] = copy.deepcopy(self._rng.choice(VALUES))
        elif kind == 6:
            del holder[key]
        elif kind == 7:
            other, name = self._rng.choice(places)
            holder[key] = copy.deepcopy(other[name])
        elif isinstance(holder, list):
            holder.insert(key, copy.deepcopy(holder[key]))
        elif kind == 8:
            holder[key + "_"] = holder.pop(key)
        else:
            holder[self._rng.choice(("", "x", "id", "series"))] = self._rng.choice(VALUES)


def _places(value: Any) -> Any:
    """(holder, key) of every value within a value, the outermost first."""
    entries = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in list(entries):
        yield value, key
        if isinstance(inner, dict | list):
            yield from _places(inner)
