"""Encoding: the codes are those of the model, and the reported loss is the measured one."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from sklearn.decomposition import PCA

from connectors.errors import ParquetError
from detector import Detector
from detector.artifact.registry import publish
from detector.errors import DetectorError
from detector.models import families as models
from detector.offline.encode import encode_parquet
from detector.rows.windows import MIN_KNOWN_SHARE
from streamgauge import main
from tests.support.artifacts import make_artifact
from tests.support.sines import CHANNELS, LATENT, WINDOW, clean, frame_of, linear_artifact, write
from trainer import fit
from trainer.config import ModelOptions, TrainConfig

CODES = [f"z{at}" for at in range(LATENT)]


def windows_of(values: np.ndarray, window: int, stride: int) -> np.ndarray:
    return np.stack([values[at : at + window] for at in range(0, len(values) - window + 1, stride)])


def scaled(values: np.ndarray) -> np.ndarray:
    spec = linear_artifact().spec
    return (values - spec.column("center")) / spec.column("scale")


def test_linear_codes_are_the_principal_components() -> None:
    frame = pd.DataFrame(
        np.random.default_rng(1).standard_normal((600, 2)).cumsum(axis=0) * [1.0, 30.0],
        columns=["flow", "pressure"],
        index=pd.date_range("2026-01-01", periods=600, freq="s", tz="UTC"),
    )
    artifact = fit(frame, config=TrainConfig(model=ModelOptions(family="linear", window=8, latent=3)))
    values = (frame.to_numpy() - artifact.spec.column("center")) / artifact.spec.column("scale")
    pca = PCA(3, svd_solver="full").fit(windows_of(values, 8, 1).reshape(-1, 16))
    expected = pca.transform(windows_of(values, 8, 1).reshape(-1, 16))
    found = Detector(artifact).encode(frame, stride=1)[["z0", "z1", "z2"]].to_numpy()
    signs = np.sign((found * expected).sum(axis=0))
    np.testing.assert_allclose(found * signs, expected, atol=1e-3)


def test_there_is_one_code_a_window_at_the_time_of_its_last_row() -> None:
    frame = frame_of(100)
    codes = Detector(linear_artifact()).encode(frame)
    assert list(codes.index) == list(frame.index[WINDOW - 1 :: WINDOW])
    assert list(codes.columns) == ["series", *CODES]
    assert set(codes[CODES].dtypes) == {np.dtype(np.float32)}


def test_the_file_says_what_the_frame_says_whatever_the_order_of_its_rows(tmp_path: Path) -> None:
    one, two = frame_of(500).assign(series="one"), frame_of(300, seed=1).assign(series="two")
    frame = pd.concat([one, two]).sample(frac=1, random_state=0)
    data = write(tmp_path / "data.parquet", frame, row_group_size=64)
    outcome = encode_parquet(linear_artifact(), data, tmp_path / "codes.parquet", stride=10)
    written = pd.read_parquet(tmp_path / "codes.parquet").sort_values(["series", "timestamp"])
    expected = Detector(linear_artifact()).encode(frame, stride=10)
    assert outcome.windows == len(written) == len(expected)
    assert list(written["series"]) == list(expected["series"])
    assert list(written["timestamp"]) == list(expected.index)
    np.testing.assert_array_equal(written[CODES], expected[CODES])


def test_what_the_codes_lose_is_measured_in_the_channels_own_units(tmp_path: Path) -> None:
    frame = frame_of(480)
    data = write(tmp_path / "data.parquet", frame)
    outcome = encode_parquet(linear_artifact(), data, tmp_path / "codes.parquet")
    module, spec = linear_artifact().module[0].autoencoder, linear_artifact().spec
    x_BWC = torch.from_numpy(windows_of(scaled(frame.to_numpy()), WINDOW, WINDOW).astype(np.float32))
    with torch.inference_mode():
        y_BWC = module(x_BWC).numpy().astype(np.float64)
    decoded = (y_BWC * spec.column("scale") + spec.column("center")).reshape(-1, 3)
    squares = (decoded - frame.to_numpy()) ** 2
    spread = (frame.to_numpy() - frame.to_numpy().mean(axis=0)) ** 2
    np.testing.assert_allclose(outcome.fidelity.rmse, np.sqrt(squares.mean(axis=0)), rtol=1e-4)
    np.testing.assert_allclose(
        outcome.fidelity.share, np.sqrt(squares.mean(axis=0) / spread.mean(axis=0)), rtol=1e-4
    )
    in_scale = spec.column("scale") ** 2
    r2 = 1 - (squares / in_scale).sum() / (spread / in_scale).sum()
    assert outcome.fidelity.r2 == pytest.approx(r2, rel=1e-4)
    assert r2 > 0.95  # sines are two components a window
    assert (outcome.latent, outcome.cells, outcome.ratio) == (LATENT, WINDOW * 3, WINDOW * 3 / LATENT)
    assert outcome.input_bytes == data.stat().st_size
    assert outcome.output_bytes == (tmp_path / "codes.parquet").stat().st_size


def test_rows_of_no_window_are_counted_for_each_series(tmp_path: Path) -> None:
    whole = frame_of(2 * WINDOW + 7).assign(series="whole")
    gapped = (
        frame_of(3 * WINDOW).assign(series="gapped").drop(frame_of(40).index[30:40])
    )  # longer than max_gap
    exact = frame_of(2 * WINDOW).assign(series="exact")
    data = write(tmp_path / "data.parquet", pd.concat([whole, gapped, exact]))
    outcome = encode_parquet(linear_artifact(), data, tmp_path / "codes.parquet")
    assert outcome.left_over == {"whole": 7, "gapped": 6 + 8}  # 24 + 6 rows, then 24 + 8
    assert outcome.windows == 2 + 2 + 2
    overlapping = encode_parquet(linear_artifact(), data, tmp_path / "codes.parquet", stride=5)
    assert overlapping.left_over == {"whole": 31 % 5, "gapped": 6 % 5 + 8 % 5, "exact": 24 % 5}


def test_short_gaps_are_part_of_windows_and_empty_windows_are_left_out(tmp_path: Path) -> None:
    frame = frame_of(3 * WINDOW)
    frame.iloc[WINDOW : 2 * WINDOW, :2] = np.nan
    frame.iloc[WINDOW : 2 * WINDOW : 2, 2] = np.nan  # a sixth of the middle window is left
    frame = frame.drop(frame.index[[3, 4]])
    data = write(tmp_path / "data.parquet", frame)
    outcome = encode_parquet(linear_artifact(), data, tmp_path / "codes.parquet")
    assert (outcome.windows, outcome.empty, outcome.left_over) == (2, 1, {})
    assert np.isfinite(pd.read_parquet(tmp_path / "codes.parquet")[CODES]).all(axis=None)


def test_a_gap_changes_a_code_little() -> None:
    frame = pd.DataFrame(clean(WINDOW), columns=CHANNELS, index=frame_of(WINDOW).index)
    whole = Detector(linear_artifact()).encode(frame)[CODES].to_numpy()
    frame.iloc[8:12, 1] = np.nan
    holed = Detector(linear_artifact()).encode(frame)[CODES].to_numpy()
    assert 0 < np.abs(holed - whole).max() < 0.05 * np.abs(whole).max()


@pytest.mark.parametrize("family", models.FAMILIES)
def test_every_family_encodes(family: str) -> None:
    artifact = make_artifact(family=family)
    module = artifact.module[0].autoencoder
    rng = np.random.default_rng(0)
    index = pd.date_range("2026-01-01", periods=80, freq="s", tz="UTC")
    frame = pd.DataFrame(rng.standard_normal((80, 2)), columns=["flow", "pressure"], index=index)
    codes = Detector(artifact).encode(frame).drop(columns="series").to_numpy().copy()
    x_BWC = torch.from_numpy(windows_of(frame.to_numpy(), 8, 8).astype(np.float32))
    with torch.inference_mode():
        decoded = module.decode(torch.from_numpy(codes), 8)
        np.testing.assert_allclose(decoded, module(x_BWC), atol=1e-5)


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    peaks = []
    for num_rows in (100_000, 400_000):
        data = write(tmp_path / f"{num_rows}.parquet", frame_of(num_rows))
        tracemalloc.start()
        outcome = encode_parquet(linear_artifact(), data, tmp_path / "codes.parquet")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert outcome.windows == pq.read_metadata(tmp_path / "codes.parquet").num_rows == num_rows // WINDOW
    assert peaks[1] < 1.2 * peaks[0]


def test_what_cannot_be_encoded_is_said(tmp_path: Path) -> None:
    artifact, out = linear_artifact(), tmp_path / "codes.parquet"
    data = write(tmp_path / "data.parquet", frame_of(100))
    with pytest.raises(DetectorError, match="stride is 0; it must be at least 1 row"):
        encode_parquet(artifact, data, out, stride=0)
    with pytest.raises(ParquetError, match=r"lacking.parquet: no file has the channel 'pressure'"):
        encode_parquet(artifact, write(tmp_path / "lacking.parquet", frame_of(100)[["flow"]]), out)
    with pytest.raises(ParquetError, match="no rows"):
        encode_parquet(artifact, write(tmp_path / "empty.parquet", frame_of(0)), out)
    with pytest.raises(DetectorError, match=r"none of the 1 series has 24 rows .* sampled every 1 s"):
        encode_parquet(artifact, write(tmp_path / "slow.parquet", frame_of(800).iloc[::10]), out)
    with pytest.raises(DetectorError, match="is the data that is read"):
        encode_parquet(artifact, data, data)
    with pytest.raises(DetectorError, match="is a directory"):
        encode_parquet(artifact, data, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "data.parquet",
        "empty.parquet",
        "lacking.parquet",
        "slow.parquet",
    ]


def test_a_frame_without_a_window_is_refused() -> None:
    with pytest.raises(DetectorError, match="none of the 1 series has 24 rows"):
        Detector(linear_artifact()).encode(frame_of(WINDOW - 1))


def test_windows_with_too_few_known_values_are_left_out_and_the_text_has_the_share(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = frame_of(4 * WINDOW)
    known = int(MIN_KNOWN_SHARE * WINDOW)  # rows of a window that just suffice
    frame.iloc[known:WINDOW] = np.nan
    frame.iloc[WINDOW + known - 1 : 2 * WINDOW] = np.nan
    data = write(tmp_path / "data.parquet", frame)
    outcome = encode_parquet(linear_artifact(), data, tmp_path / "codes.parquet")
    assert (outcome.windows, outcome.empty) == (3, 1)
    publish(linear_artifact(), tmp_path / "pump")
    assert main(["encode", str(tmp_path / "pump"), str(data), "--out", str(tmp_path / "codes.parquet")]) == 0
    expected = f"left out: 1 windows with less than {MIN_KNOWN_SHARE:.0%} of their values known\n"
    assert expected in capsys.readouterr().out
    with pytest.raises(DetectorError, match=f"with at least {MIN_KNOWN_SHARE:.0%} of its values known"):
        Detector(linear_artifact()).encode(frame_of(WINDOW - 1))
