"""A backtest from object storage to object storage, on a real S3 server and a real local cluster."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from unittest import mock
from uuid import uuid4

import pandas as pd
import pytest

from connectors.objects.names import below
from connectors.objects.objects import Objects
from streamgauge import main
from tests.cluster.test_backtest_cluster import NAMES, QUICK, damage, faulty
from tests.detector.explore.storage.object_store import ENVIRONMENT, ObjectStore
from tests.trainer.kinds.plants import PUMP, machine, write

pytestmark = pytest.mark.objects


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """An S3 server, and the credentials for it in the environment."""
    store = ObjectStore(tmp_path_factory.mktemp("s3"))
    with mock.patch.dict(os.environ, ENVIRONMENT):
        store.start()
        yield store
        store.kill()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("model")
    history = write(root / "history.parquet", pd.concat([machine(one, PUMP, 0, 2_000) for one in NAMES[:3]]))
    assert main(["train", str(history), "--out", str(root / "pump"), *QUICK]) == 0
    return root / "pump"


def test_what_is_read_from_and_written_to_a_bucket_is_what_one_process_finds(
    store: ObjectStore, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = store.uri(uuid4().hex)
    data, out = below(uri, "history"), below(uri, "found")
    for seed, name in enumerate(NAMES[:3]):
        file = write(tmp_path / "data" / f"day/{name}.parquet", faulty(name, seed))
        Objects(data).upload(file, f"day/{name}.parquet")
    assert main(["backtest", str(model), str(tmp_path / "data"), "--out", str(tmp_path / "alone")]) == 0
    assert main(["backtest", str(model), data, "--out", out, "--on", "dask"]) == 0
    assert "written: s3://plant/" in capsys.readouterr().out
    bucket = Objects(out)
    assert bucket.list("") == ["backtest.json", "incidents.json", "scores.parquet"]  # no part is left
    for name in bucket.list(""):
        bucket.download(name, tmp_path / name)
    ours, theirs = (
        pd.read_parquet(place / "scores.parquet").sort_values(["series", "timestamp"], ignore_index=True)
        for place in (tmp_path, tmp_path / "alone")
    )
    pd.testing.assert_frame_equal(ours, theirs, check_exact=True)
    ours, theirs = (
        json.loads((place / "incidents.json").read_text()) for place in (tmp_path, tmp_path / "alone")
    )
    assert ours == theirs

    damage(tmp_path / "data/day/pump-2.parquet")
    Objects(data).upload(tmp_path / "data/day/pump-2.parquet", "day/pump-2.parquet")
    assert main(["backtest", str(model), data, "--out", out, "--on", "dask"]) == 1
    told = capsys.readouterr().out
    assert "not judged: pump-2: s3://plant/" in told
    assert "day/pump-2.parquet: damaged" in told


def test_an_empty_prefix_and_a_run_without_a_cluster_are_refused(
    store: ObjectStore, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = store.uri("nothing-here")
    assert main(["backtest", str(model), empty]) == 2
    assert "an object storage needs --on" in capsys.readouterr().err
    assert main(["backtest", str(model), empty, "--on", "dask"]) == 2
    assert "no *.parquet object there" in capsys.readouterr().err
