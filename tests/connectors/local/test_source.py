"""A source without Kafka: its batches have everything that its decoder found."""

from __future__ import annotations

from pathlib import Path

from connectors.files.feed import FileFeed
from connectors.formats.codec import codec_of
from connectors.formats.form import Form
from connectors.local.source import LocalSource, SourceOptions
from connectors.local.store import LocalStore


def test_series_without_a_known_channel_are_counted(tmp_path: Path) -> None:
    text = "plant,series=a flow=1 1767225600000000000\n" + 2 * "plant,series=b heat=1 1767225600000000000\n"
    (tmp_path / "a.line").write_text(text)
    codec = codec_of(("plant_flow",), Form("line_protocol"))
    source = LocalSource(FileFeed(str(tmp_path), False), LocalStore(None), codec, SourceOptions("files"))
    source.poll(0.0)
    batch = source.poll(0.0)
    assert batch is not None
    assert (len(batch.readings), dict(batch.strangers)) == (1, {"b": 2})
