"""What one row costs: processor time of decoding, scoring and encoding, each measured alone in this process.

Sizes of the messages in and out are those of the same rows.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch

from benchmarks.artifacts import CHANNELS, conv_artifact
from benchmarks.scaling.figures import Cost
from benchmarks.scaling.group import CHUNK, rows
from connectors.records import Message, Raw
from connectors.wide_json.decoder import JsonWideCodec
from connectors.wide_json.encoder import encode
from detector.delivery.messages import MessageEncoder, Topics
from detector.engine.engine import Engine


def measure_cost(whole: float, num_polls: int) -> Cost:
    """Measure the three steps over so many polls; `whole` are the microseconds of a row in a member."""
    torch.set_num_threads(1)
    artifact = conv_artifact()
    engine, codec = Engine(artifact), JsonWideCodec(CHANNELS)
    encoder = MessageEncoder(Topics.of("out"), artifact.spec.name, artifact.version, CHANNELS)
    spent, size_in, size_out = [0.0, 0.0, 0.0], 0, 0
    for poll in range(1 + num_polls):
        messages = encode(rows(poll * CHUNK, CHUNK), CHANNELS, "readings")
        raws = [Raw(one.topic, 0, at, -1, one.key, one.value) for at, one in enumerate(messages)]
        laps = [time.process_time()]
        decoded = codec.decode(raws)
        laps.append(time.process_time())
        result = engine.step(decoded.readings)
        laps.append(time.process_time())
        outputs = list(encoder.verdicts(result.verdicts))
        laps.append(time.process_time())
        if poll:  # the first poll fills the windows
            spent = [all_ + laps[at + 1] - laps[at] for at, all_ in enumerate(spent)]
            size_in, size_out = size_in + _size(messages), size_out + _size(outputs)
    num_rows = num_polls * CHUNK
    decode, score, write = (1e6 * seconds / num_rows for seconds in spent)
    return Cost(decode, score, write, whole, size_in / num_rows, size_out / num_rows)


def _size(messages: Sequence[Message]) -> int:
    return sum(len(one.key or b"") + len(one.value or b"") for one in messages)
