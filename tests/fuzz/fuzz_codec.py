"""The codec under a fuzzer that follows coverage: `python tests/fuzz/fuzz_codec.py [-max_total_time=60] [CORPUS]`.

Needs atheris (the extra `fuzz`; CPython on Linux). The input's lines are the messages of a batch, and a valid
message is put behind each. The flags are those of libFuzzer; a CORPUS directory keeps what found new ways.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[2]))
with atheris.instrument_imports(include=["connectors"]):
    from tests.fuzz.codec_target import CODECS, bodies, check_batch, dumps

MOST_LINES = 16
_VALID = [dumps(bodies(codec.fields)[0]) for codec in CODECS]


def one_input(data: bytes) -> None:
    """Each codec on one input; raises where a promise is broken."""
    lines = data.split(b"\n", MOST_LINES)
    for codec, valid in zip(CODECS, _VALID, strict=True):
        values: list[bytes | None] = [value for line in lines for value in (line, valid)]
        check_batch(codec, values, dict.fromkeys(range(1, len(values), 2), valid))


def main() -> None:
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
