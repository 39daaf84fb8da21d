"""The codec under a fuzzer that follows coverage: `python tests/fuzz/fuzz_codec.py [FLAGS] [CORPUS]`.

Needs atheris (the extra `fuzz`; CPython on Linux). The lines of an input are the messages of a batch, and a
valid message is put behind each. FLAGS are libFuzzer's (`-max_total_time=60`); a CORPUS directory keeps what
found new ways. atheris itself keeps some kilobytes an input: a long run needs `-rss_limit_mb=0`.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[2]))
with atheris.instrument_imports(include=["connectors"]):
    from tests.fuzz.codec_target import CODECS, bodies, check_batch, dumps
    from tests.fuzz.mutation import ByteMutator

MOST_LINES = 16
VALID = [dumps(bodies(codec.fields)[0]) for codec in CODECS]


def one_input(data: bytes) -> None:
    """Each codec on one input; raises where a promise is broken."""
    lines = data.split(b"\n", MOST_LINES)
    for codec, valid in zip(CODECS, VALID, strict=True):
        values: list[bytes | None] = [value for line in lines for value in (line, valid)]
        check_batch(codec, values, dict.fromkeys(range(1, len(values), 2), valid))


def mutate(data: bytes, max_size: int, seed: int) -> bytes:
    """Half of the changes are libFuzzer's, half those of our own mutator, which knows JSON."""
    rng = random.Random(seed)
    if rng.random() < 0.5:
        mutated: bytes = atheris.Mutate(data, max_size)
        return mutated
    return ByteMutator(rng, [data, *VALID])()[:max_size]


def main() -> None:
    atheris.Setup(sys.argv, one_input, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
