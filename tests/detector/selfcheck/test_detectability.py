"""The table of what a model finds, against shifts that are injected by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from detector.api import Detector
from detector.artifact import storage
from detector.selfcheck.detectability import MARGIN, with_detectability
from detector.selfcheck.faults import Fault, first_row, inject, stretch_rows
from detector.selfcheck.recent_rows import RecentRows
from detector.selfcheck.words import found_section, weakest_line, with_new_section
from tests.detector.selfcheck.test_check import MODEL
from tests.support.sines import CHANNELS, frame_of
from trainer import fit
from trainer.model_card import summary_text, training_summary


@pytest.mark.parametrize("at", range(3))
@pytest.mark.parametrize("rows", [1, 10])
def test_a_fresh_shift_is_found_at_the_promised_size_and_not_at_a_tenth_of_the_smallest(
    at: int, rows: int
) -> None:
    [entry] = [
        one
        for one in MODEL.spec.detectable
        if (one.channel, one.rows) == (CHANNELS[at], rows) and one.kind in ("spike", "level")
    ]
    assert entry.smallest is not None
    assert entry.promised == MARGIN * entry.smallest
    peaks = []
    for size in (0.1 * entry.smallest, entry.promised):
        frame = frame_of(600, seed=41, start=1200)
        frame.iloc[300 : 300 + rows, at] += size
        peaks.append(Detector(MODEL).score(frame)["score"].iloc[300 : 300 + rows].max())
    assert peaks[0] < 1 < peaks[1]


def test_longer_shifts_may_be_smaller() -> None:
    found = {(one.channel, one.rows): one.smallest for one in MODEL.spec.detectable if one.kind != "drift"}
    for name in CHANNELS:
        assert found[name, 1] > found[name, 10] >= found[name, 100]


def test_a_shift_in_a_constant_channel_that_the_model_ignores_is_told() -> None:
    channels = (replace(MODEL.spec.channels[0], scale=1e12), *MODEL.spec.channels[1:])
    blind = with_detectability(replace(MODEL, spec=replace(MODEL.spec, channels=channels)), MODEL.sample)
    smallest = {
        one.smallest for one in blind.spec.detectable if one.channel == "flow" and one.kind == "spike"
    }
    assert smallest == {None} or min(smallest) > 1e9


def test_too_short_stretches_give_no_table() -> None:
    short = [rows[:-1] for rows in MODEL.sample]
    measured = with_detectability(MODEL, short)
    assert measured.spec.detectable == ()
    assert measured.sample == ()
    assert "Not measured" in found_section(measured.spec)
    assert weakest_line(measured.spec) is None


def test_table_and_sample_survive_the_disk(tmp_path: Path) -> None:
    saved = storage.save(MODEL, tmp_path / "model")
    loaded = storage.load(tmp_path / "model")
    assert loaded.spec == saved.spec
    assert loaded.version == saved.version
    for one, other in zip(loaded.sample, MODEL.sample, strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_artifact_of_before_the_table_is_loaded(tmp_path: Path) -> None:
    storage.save(replace(MODEL, spec=replace(MODEL.spec, detectable=()), sample=()), tmp_path / "model")
    assert not (tmp_path / "model" / storage.SAMPLE).exists()
    assert storage.load(tmp_path / "model").spec.detectable == ()


def test_the_end_of_a_training_says_the_weakest_channel_and_warns() -> None:
    summary = training_summary(MODEL, Path("models/pump"))
    assert summary["hardly_watched"] == []
    assert "rows is the smallest that is found" in summary_text(summary)
    warned = summary_text({**summary, "hardly_watched": ["flow"]})
    assert "warning: channel flow can hardly be watched" in warned


def test_a_channel_of_pure_noise_far_above_its_neighbours_is_still_measured() -> None:
    frame = frame_of()
    frame["dead"] = 5.0
    model = fit(frame, model="linear", window=24)
    assert {one.channel for one in model.spec.detectable} == {*CHANNELS, "dead"}


def test_the_card_gets_a_new_section_and_keeps_the_rest() -> None:
    changed = replace(MODEL.spec, detectable=())
    card = with_new_section(MODEL.card, changed)
    assert "Not measured" in card
    assert with_new_section(card, MODEL.spec) == MODEL.card


def test_a_missing_reading_in_a_fault_takes_the_last_known_value() -> None:
    rows = MODEL.sample[0].copy()
    first = first_row(MODEL.spec)
    rows[first - 1 : first + 3, 0] = np.nan
    faulty = inject(rows, Fault("level", 0, 10, 5.0), MODEL.spec)
    np.testing.assert_array_equal(faulty[first : first + 3, 0], rows[first - 2, 0] + 5.0)
    np.testing.assert_array_equal(faulty[:, 1:], rows[: len(faulty), 1:])
    np.testing.assert_array_equal(faulty[:first, 0], rows[:first, 0])


@pytest.mark.parametrize("cut", [1, 7, 1000])
def test_recent_rows_are_the_newest_unbroken_ok_rows_however_they_are_cut(cut: int) -> None:
    frame = frame_of(500, seed=5, start=1200)
    frame.iloc[100, 0] += 1e3
    recent = RecentRows(MODEL.spec)
    for verdicts in Detector(MODEL).replay(frame).verdicts:
        for start in range(0, len(verdicts), cut):
            recent.add(verdicts.take(np.arange(start, min(start + cut, len(verdicts)))))
    [rows] = recent.stretches()
    np.testing.assert_array_equal(rows, frame.to_numpy()[-stretch_rows(MODEL.spec) :])
