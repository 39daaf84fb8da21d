"""The plan: windows that suit the data, the members of an ensemble, and an ensemble from end to end."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from detector import Detector
from detector.artifact.registry import open_artifact
from detector.artifact.spec import Combine
from detector.models import families as models
from streamgauge import main
from trainer import fit
from trainer.config import FitOptions, ModelOptions, ScoringOptions, TrainConfig
from trainer.errors import TrainerError
from trainer.fitting.members import default_max_gap, default_window, resolve_members

HOUR = TrainConfig(fit=FitOptions(max_epochs=1, min_steps_per_epoch=2))


@pytest.mark.parametrize(
    ("num_rows", "num_channels", "window"),
    [
        (10**6, 1, 256),
        (10**6, 2, 128),
        (10**6, 7, 36),
        (10**6, 16, 16),
        (10**6, 400, 16),  # never shorter, however wide
        (300, 1, 100),  # a third of the rows
        (40, 20, 13),
        (5, 1, 4),
    ],
)
def test_a_window_has_about_256_cells_and_a_third_of_the_rows_at_most(
    num_rows: int, num_channels: int, window: int
) -> None:
    assert default_window(num_rows, num_channels) == window


def test_gaps_of_half_a_window_are_bridged() -> None:
    assert default_max_gap(40, 3) == 20
    assert [default_max_gap(None, num_channels) for num_channels in (1, 2, 400)] == [128, 64, 8]


def sizes(
    options: ModelOptions, num_rows: int = 10**6, num_channels: int = 1, delay: int = 0
) -> list[tuple[str, int]]:
    members = resolve_members(options, num_rows, num_channels, delay)
    return [(member.family, member.window) for member in members]


def test_an_ensemble_has_three_families_and_a_short_window_for_spikes() -> None:
    long = [("linear", 256), ("conv", 256), ("lstm", 256)]
    assert sizes(ModelOptions()) == [*long, ("linear", 16)]
    assert sizes(ModelOptions(window=40), num_channels=2)[3:] == [("linear", 8)]
    assert sizes(ModelOptions(), num_rows=30) == [("linear", 10), ("conv", 10), ("lstm", 10)]


def test_an_ensemble_of_one_channel_that_waits_for_a_window_also_has_a_memory() -> None:
    long = [("linear", 256), ("conv", 256), ("lstm", 256)]
    assert sizes(ModelOptions(), delay=255) == [*long, ("memory", 64), ("linear", 16)]
    assert sizes(ModelOptions(), delay=254) == long
    assert sizes(ModelOptions(window=40), delay=60)[3:] == [("memory", 40), ("linear", 8)]
    assert sizes(ModelOptions(window=40), delay=60, num_channels=2)[3:] == []
    of_few_rows = [("linear", 10), ("conv", 10), ("lstm", 10), ("memory", 10)]
    assert sizes(ModelOptions(), num_rows=30, delay=9) == of_few_rows


def test_the_members_of_an_ensemble_can_be_chosen_and_the_longest_window_stands_first() -> None:
    chosen = ModelOptions(members=("deep:12", "conv", "gru:48"), window=24)
    assert sizes(chosen) == [("gru", 48), ("conv", 24), ("deep", 12)]
    assert sizes(ModelOptions(members=("vae",))) == [("vae", 256)]


def test_one_family_is_one_member_with_the_hyperparameters_given() -> None:
    (member,) = resolve_members(ModelOptions(family="conv", window=32, nodes=6, latent=3), 1_000, 2)
    assert (member.family, member.window) == ("conv", 32)
    assert (member.hyperparameters["nodes"], member.hyperparameters["latent"]) == (6, 3)
    assert member.hyperparameters == models.resolve("conv", {"nodes": 6, "latent": 3}, 32, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ModelOptions(nodes=8, latent=4),
            r"^model: an ensemble takes no 'latent': its members have their own defaults; choose one family",
        ),
        (ModelOptions(family="tree"), r"^model.family: unknown family 'tree'; .*linear"),
        (ModelOptions(family="linear", patch=4), r"^model: linear has no hyperparameter 'patch'"),
        (ModelOptions(members=("tree:8",)), r"^model.members: unknown family 'tree'; .*linear"),
        (
            ModelOptions(members=("conv:wide",)),
            r"^model.members: 'conv:wide' is not FAMILY or FAMILY:WINDOW, such as \"linear:16\"$",
        ),
        (ModelOptions(members=("conv:0",)), r"^model.members: 'conv:0' is not FAMILY or FAMILY:WINDOW"),
        (ModelOptions(members=("linear", "conv/x")), r"^model.members: 'conv/x' is not FAMILY/STRIDE"),
        (ModelOptions(members=("linear", "conv/0")), r"^model.members: 'conv/0' is not FAMILY/STRIDE"),
        (
            ModelOptions(members=("linear", "conv:8/9")),
            r"'conv:8/9': the stride is more than the window of 8",
        ),
        (ModelOptions(members=("linear:4", "conv/2")), r"remove the stride of 'conv', or add \"linear\"$"),
    ],
)
def test_members_that_cannot_exist_are_refused(options: ModelOptions, message: str) -> None:
    with pytest.raises(TrainerError, match=message):
        resolve_members(options, 1_000, 2)


# From end to end


def frame_of(num_rows: int = 300, seed: int = 0) -> pd.DataFrame:
    """Two channels a minute, indexed by time."""
    rng = np.random.default_rng(seed)
    angle = np.arange(num_rows)[:, None] * 0.2 + np.array([0.0, 1.0])
    values = np.sin(angle) + rng.normal(0, 0.05, angle.shape)
    index = pd.date_range("2026-01-01", periods=num_rows, freq="min", tz="UTC", name="timestamp")
    return pd.DataFrame(values, index=index, columns=["flow", "pressure"])


def test_fit_trains_an_ensemble_by_default() -> None:
    spec = fit(frame_of(), config=HOUR).spec
    assert spec.family == "ensemble"
    assert [member.family for member in spec.members] == ["linear", "conv", "lstm", "linear"]
    assert spec.scoring.combine == "worst"
    assert spec.window == 100
    assert spec.max_gap == 64
    assert all(len(member.settled) == len(member.fresh) == 2 for member in spec.members)


def test_fit_names_every_family() -> None:
    assert fit.__doc__ is not None
    assert [name for name in ("ensemble", *models.FAMILIES) if f'"{name}"' not in fit.__doc__] == []


def test_an_ensemble_is_trained_saved_loaded_and_scores_as_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, entry = tmp_path / "history.parquet", tmp_path / "models" / "pump"
    pq.write_table(pa.Table.from_pandas(frame_of().reset_index(), preserve_index=False), data)
    flags = ["--model", "ensemble", "--window", "16", "--max-epochs", "1", "--json"]
    assert main(["train", str(data), "--out", str(entry), *flags]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["family"], summary["window"]) == ("ensemble", 16)
    loaded = open_artifact(entry)
    assert [member.window for member in loaded.spec.members] == [16, 16, 16, 8]
    config = HOUR.model_copy(
        update={"name": "pump", "model": ModelOptions(window=16), "fit": FitOptions(max_epochs=1)}
    )
    trained = fit(data, config=config)
    assert trained.spec.members == loaded.spec.members
    assert trained.spec.threshold == loaded.spec.threshold
    fresh = frame_of(100, seed=1)
    fresh.iloc[50:55] += 3.0
    before, after = Detector(trained).score(fresh), Detector(loaded).score(fresh)
    pd.testing.assert_frame_equal(before, after)
    assert (before["state"].iloc[:7] == "warming").all()  # then the short member has its first window
    assert np.isfinite(before["score"].iloc[7:]).all()
    assert before["score"].iloc[50:55].min() > before["score"].iloc[7:50].max()


def test_members_without_an_ensemble_are_refused() -> None:
    with pytest.raises(TrainerError, match=r"only an ensemble has members, but model.family is 'conv'"):
        resolve_members(ModelOptions(family="conv", members=("linear",)), 1_000, 1)


def test_an_automatic_window_is_the_default_one() -> None:
    assert ModelOptions.model_validate({"window": "auto"}) == ModelOptions()
    with pytest.raises(ValueError, match="window"):
        ModelOptions.model_validate({"window": "long"})


def test_where_the_worst_counts_there_is_no_memory_and_no_short_window_once_verdicts_wait() -> None:
    windows = [
        [m.window for m in resolve_members(ModelOptions(), 10_000, 1, delay, "worst")]
        for delay in (0, 15, 16, 255)
    ]
    assert windows == [[256, 256, 256, 16]] * 2 + [[256] * 3] * 2


@pytest.mark.parametrize(
    ("num_channels", "delay", "stated", "rule", "reason"),
    [
        (
            1,
            15,
            None,
            "mean",
            "measured to rank better with one channel, where verdicts wait for a whole window",
        ),
        (
            1,
            14,
            None,
            "worst",
            "the mean was not measured to be better with several channels, or without waiting",
        ),
        (1, 15, "worst", "worst", "as configured"),
        (
            2,
            15,
            None,
            "worst",
            "the mean was not measured to be better with several channels, or without waiting",
        ),
        (2, 0, "mean", "mean", "as configured"),
    ],
)
def test_the_card_says_by_which_rule_evidence_becomes_one_error_and_why(
    num_channels: int, delay: int, stated: Combine | None, rule: Combine, reason: str
) -> None:
    config = TrainConfig(
        model=ModelOptions(window=16, members=("linear:16", "linear:8")),
        scoring=ScoringOptions(combine=stated, delay=delay),
    )
    found = fit(frame_of().iloc[:, :num_channels], config=config)
    assert found.spec.scoring.combine == rule
    (line,) = [one for one in found.card.splitlines() if one.startswith("| error |")]
    assert line.endswith(f"; {reason} |")


@pytest.mark.parametrize("delay", [0, 16, 255])
def test_the_mean_has_every_kind_of_evidence_however_long_verdicts_wait(delay: int) -> None:
    found = resolve_members(ModelOptions(), 10_000, 1, delay, "mean")
    assert [member.window for member in found] == [256, 256, 256, 64, 16]


def test_members_with_a_stride_come_after_those_of_their_length_that_read_every_window() -> None:
    members = resolve_members(ModelOptions(members=("lstm/4", "linear", "conv:16/2")), 10**6, 8)
    assert [(one.family, one.window, one.stride) for one in members] == [
        ("linear", 32, 1),
        ("lstm", 32, 4),
        ("conv", 16, 2),
    ]


def test_the_code_has_no_numbers_for_channels_that_never_move() -> None:
    """With a number for nearly each cell that moves, a model reproduces every fault."""
    options = ModelOptions(window=16)
    all_move, few_move = (resolve_members(options, 10**4, 25, num_living=num) for num in (None, 3))
    assert [one.hyperparameters["latent"] for one in all_move[:1]] == [50]
    assert [one.hyperparameters["latent"] for one in few_move[:1]] == [6]
    assert few_move[1].hyperparameters["latent"] < all_move[1].hyperparameters["latent"]
    chosen = resolve_members(ModelOptions(family="linear", latent=40, window=16), 10**4, 25, num_living=3)
    assert chosen[0].hyperparameters["latent"] == 40


@pytest.mark.parametrize(
    ("window", "delay", "strides"),
    [
        (64, 0, {"linear": 1, "conv": 4, "lstm": 4}),
        (64, 8, {"linear": 1, "conv": 1, "lstm": 1}),  # a mean over later windows reads them all
        (8, 0, {"linear": 1, "conv": 1, "lstm": 1}),  # four rows are half of such a window
    ],
)
def test_the_networks_of_the_default_read_every_fourth_window(
    window: int, delay: int, strides: dict[str, int]
) -> None:
    members = resolve_members(ModelOptions(window=window), 10_000, 4, delay)
    assert {member.family: member.stride for member in members} == strides
    assert members[0].stride == 1
