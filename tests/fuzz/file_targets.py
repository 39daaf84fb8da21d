"""Files under fire: configurations, artifacts and registry entries, feedback, incidents, Parquet.

Promises: what is read is either usable or refused by one of the packages' own errors, whose message says
where; no secret appears in it; nothing takes long.
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from connectors.errors import ConnectorError
from connectors.parquet.dataset import discover
from connectors.parquet.replay_source import ParquetSource
from connectors.parquet.writer import TableWriter
from connectors.records import Readings
from detector.artifact import storage as artifacts
from detector.artifact.description import manifest as manifests
from detector.artifact.registry import open_artifact
from detector.artifact.spec import Artifact, PageLimit, Threshold
from detector.calibration.feedback import (
    FILE,
    Feedback,
    add_feedback,
    adjust_to_feedback,
    feedback_on,
    find_incident,
    read_feedback,
)
from detector.config.example import example
from detector.config.load import Config, load_config, load_toml
from detector.engine.engine import Engine
from detector.errors import ArtifactError, ConfigError, DetectorError
from tests.fuzz.finding import Finding, require
from tests.fuzz.mutation import ByteMutator, JsonMutator
from tests.support.artifacts import make_artifact
from trainer.config import TrainConfig

MOST_SECONDS = 10.0
"""For one input; a usual one takes milliseconds."""
SECRET = "hunter2-is-secret"
GOOD = '[model]\npath = "models/pump"\n\n[kafka]\ntopic = "readings"\n'
OTHER = (
    GOOD + 'bootstrap_servers = ["a:1", "b:2"]\nstartup_timeout = "1.5m"\nsasl_password_file = "secret"\n'
    '[input]\nmax_future = "1d"\n[incidents]\nfor_rows = 3\nof_rows = 5\nclose_score = 0.7\n'
    "[http]\nport = 0\n[service]\nstale_after = 90\nthreads = 2\n[log]\nlevel = 'debug'\n"
)
TRAINING = (
    'name = "pump"\n[model]\nfamily = "conv"\nwindow = 16\n[data]\ninterval_seconds = 1.5\nchannels = ["a"]\n'
    "[data.valid_range]\na = [0, 5.5]\n[fit]\nmax_epochs = 3\n[scoring]\nalarm_budget = '1/week'\n"
)
_ENVIRONMENT = {
    "STREAMGAUGE_KAFKA__SASL_PASSWORD": SECRET,
    "STREAMGAUGE_KAFKA__TOPIC": "other",
    "STREAMGAUGE_HTTP__PORT": "70000",
    "STREAMGAUGE_SERVICE__STALE_AFTER": "9" * 400,
    "STREAMGAUGE_KAFKA__BOOTSTRAP_SERVERS": "a:1,,b:2",
    "STREAMGAUGE_INCIDENTS__CLOSE_SCORE": "nan",
    "STREAMGAUGE_GRID__LATENESS": "5 m",
}
_INCIDENT = {
    "id": "4be1c0ffee000000",
    "series": "pump-1",
    "version": "0123456789ab",
    "reason": "score",
    "start": "2026-10-01T12:00:00.000Z",
    "peak_score": 1.5,
    "channels": [{"name": "flow"}],
}
Errors = type[Exception] | tuple[type[Exception], ...]


def attempt(what: str, data: bytes, declared: Errors, work: Callable[[], Any]) -> Any:
    """What `work` returns, or the declared error it raised. Raises Finding for any other, and for a hang."""
    started = time.perf_counter()
    try:
        outcome = work()
    except declared as error:
        outcome = error
        require(len(str(error)) > 0, f"{what}: an error without words", data)
    except Exception as error:
        raise Finding(f"{what} raised {error!r:.500}", data) from error
    seconds = time.perf_counter() - started
    require(seconds <= MOST_SECONDS, f"{what} took {seconds:.1f} s", data)
    return outcome


class ConfigTarget:
    """The configurations of the daemon and of the trainer."""

    def __init__(self, rng: random.Random, scratch: Path) -> None:
        self._rng = rng
        self._path = scratch / "streamgauge.toml"
        (scratch / "secret").write_text(SECRET)
        other = OTHER.replace('"secret"', json.dumps(str(scratch / "secret")))
        seeds = [GOOD, other, example(), example().replace("\n# ", "\n"), TRAINING]
        self._mutate = ByteMutator(rng, [text.encode() for text in seeds])

    def run(self) -> int:
        """One configuration. Raises Finding."""
        names = [name for name in _ENVIRONMENT if self._rng.random() < 0.1]
        check_config(self._path, self._mutate(), {name: _ENVIRONMENT[name] for name in names})
        return 1


def check_config(path: Path, text: bytes, environ: dict[str, str]) -> None:
    """Both loaders take the text or say what is wrong with it, where, and no secret. Raises Finding."""
    path.write_bytes(text)
    outcomes = [
        attempt("load_config", text, ConfigError, lambda: load_config(path, environ)),
        attempt("load_toml", text, ConfigError, lambda: load_toml(path, TrainConfig, environ)),
    ]
    for outcome in outcomes:
        if isinstance(outcome, ConfigError):
            named = all(
                line.startswith((str(path), "STREAMGAUGE_")) for line in str(outcome).split("\n") if line
            )
            require(named or "\n" in str(outcome), f"no place in {str(outcome)[:200]!r}", text)
            require(SECRET not in str(outcome), "a secret in an error", text)
        else:
            require(SECRET not in repr(outcome), "a secret in a configuration's words", text)
    if isinstance(outcomes[0], Config):
        seconds = (outcomes[0].input.max_future, outcomes[0].grid.lateness, outcomes[0].service.stale_after)
        usable = all(0 <= value * 1e9 < 2**63 for value in seconds if value is not None)
        require(usable, f"durations {seconds} fit no clock", text)
        counts = (
            outcomes[0].incidents.of_rows,
            outcomes[0].incidents.quiet_rows,
            outcomes[0].service.threads or 1,
        )
        require(max(counts) < 2**31, f"counts {counts} fit no array", text)


class ArtifactTarget:
    """Artifacts: damaged bytes, and damaged content under hashes that are right."""

    def __init__(self, rng: random.Random, scratch: Path) -> None:
        self._rng = rng
        self._entry = scratch / "pump"
        self._json = JsonMutator(rng)
        self._seeds = [_files_of(one, scratch / "seed") for one in _artifacts()]

    def run(self) -> int:
        """One artifact, loaded through its registry entry. Raises Finding."""
        files: dict[str, bytes] = dict(self._rng.choice(self._seeds))
        manifest = json.loads(files[manifests.MANIFEST])
        draw = self._rng.random()
        version = str(manifest["version"])
        if draw < 0.25:
            name = self._rng.choice(sorted(files))
            files[name] = ByteMutator(self._rng, [files[name]])()
        elif draw < 0.55:
            manifest["spec"] = self._json(manifest["spec"])
            version = sign(files, manifest)
        elif draw < 0.65:
            files[manifests.MANIFEST] = json.dumps(self._json(manifest)).encode()
        elif draw < 0.95:
            name = self._rng.choice(sorted({*files} - {manifests.MANIFEST}))
            files[name] = ByteMutator(self._rng, [one[name] for one in self._seeds])()
            version = sign(files, manifest)
        else:
            del files[self._rng.choice(sorted(files))]
        pointer = version.encode() + b"\n"
        if self._rng.random() < 0.05:
            pointer = ByteMutator(self._rng, [pointer])()
        check_artifact(self._entry, files, version, pointer)
        return 1


def check_artifact(entry: Path, files: dict[str, bytes], version: str, pointer: bytes) -> None:
    """A registry entry of these files is refused, or gives an artifact that an engine can run."""
    shutil.rmtree(entry, ignore_errors=True)
    (entry / version).mkdir(parents=True)
    (entry / "current").write_bytes(pointer)
    for name, content in files.items():
        (entry / version / name).write_bytes(content)
    data = json.dumps({name: content.decode("latin-1") for name, content in files.items()}).encode()
    outcome = attempt("open_artifact", data, ArtifactError, lambda: open_artifact(entry))
    if isinstance(outcome, ArtifactError):
        require(str(entry) in str(outcome), f"no place in {str(outcome)[:200]!r}", data)
        return
    attempt("Engine", data, (), lambda: Engine(outcome).step(_readings(outcome)))


def sign(files: dict[str, bytes], manifest: dict[str, Any]) -> str:
    """Put the right hashes and version into the manifest, as whoever wrote such files would; the version."""
    hashes = {name: hashlib.sha256(files[name]).hexdigest() for name in manifest["files"]}
    content = {"format": manifest["format"], "spec": manifest["spec"], "files": hashes}
    version = manifests.version_of(content)
    files[manifests.MANIFEST] = json.dumps({"version": version, **content}).encode()
    return version


class FeedbackTarget:
    """Feedback of a registry entry, and the files of incidents that feedback is given on."""

    def __init__(self, rng: random.Random, scratch: Path) -> None:
        self._rng = rng
        self._scratch = scratch
        self._json = JsonMutator(rng)
        for number, said in enumerate(("real", "false-alarm")):
            add_feedback(scratch, Feedback(f"i{number}", said, "pump", "2026", "0" * 12, 1.5))  # type: ignore[arg-type]
        self._lines = (scratch / FILE).read_bytes()
        self._objects = [json.loads(line) for line in self._lines.splitlines()]
        self._reports = [
            {"rows": 9, "incidents": [_INCIDENT]},
            [_INCIDENT],
            {"event": "x", "incident": _INCIDENT},
        ]
        alerts = b"\n".join(json.dumps({**_INCIDENT, "peak_score": peak}).encode() for peak in (1.1, 1.9))
        self._bytes = ByteMutator(
            rng, [self._lines, alerts, *(json.dumps(r).encode() for r in self._reports)]
        )

    def run(self) -> int:
        """One file, read as both. Raises Finding."""
        draw = self._rng.random()
        if draw < 0.4:
            data = self._bytes()
        elif draw < 0.7:
            data = b"\n".join(json.dumps(self._json(one)).encode() for one in self._objects)
        else:
            data = json.dumps(self._json(self._rng.choice(self._reports))).encode()
        check_feedback(self._scratch, data, self._rng.choice((0.5, 1.0, 7.0)))
        return 1


def check_feedback(scratch: Path, data: bytes, sharpness: float) -> None:
    """The file is refused as feedback or gives a threshold; the same as incidents to give feedback on."""
    path = scratch / FILE
    path.write_bytes(data)
    found = attempt("read_feedback", data, DetectorError, lambda: read_feedback(scratch))
    if isinstance(found, tuple):
        threshold = attempt("adjust_to_feedback", data, (), lambda: adjust_to_feedback(1.0, found))
        require(0 < threshold < float("inf"), f"feedback gives the threshold {threshold}", data)
    incident = attempt("find_incident", data, DetectorError, lambda: find_incident(path, "4be1"))
    if not isinstance(incident, dict):
        return
    rule = Threshold(4.0, "fixed", "1/week", sharpness=sharpness)
    said = attempt("feedback_on", data, DetectorError, lambda: feedback_on(incident, "real", rule))
    if isinstance(said, Feedback):
        path.unlink()
        attempt("add_feedback", data, (), lambda: add_feedback(scratch, said))
        require(read_feedback(scratch) == (said,), f"feedback is not read as it was written: {said}", data)


class ParquetTarget:
    """History in Parquet: metadata, schema and pages."""

    def __init__(self, rng: random.Random, scratch: Path) -> None:
        self._path = scratch / "history.parquet"
        with TableWriter(self._path, {"interval_s": "1", "series": "pump"}) as writer:
            times = 1_767_225_600_000_000_000 + np.arange(50) * 10**9
            writer.write({"timestamp": times, "series": ["a", "b"] * 25, "flow": np.arange(50) / 7.0})
        self._mutate = ByteMutator(rng, [self._path.read_bytes()])

    def run(self) -> int:
        """One file. Raises Finding."""
        check_parquet(self._path, self._mutate())
        return 1


def check_parquet(path: Path, data: bytes) -> None:
    """The file is refused or replayed. Raises Finding."""
    path.write_bytes(data)
    outcome = attempt("discover and replay", data, ConnectorError, lambda: _replay(path))
    if isinstance(outcome, ConnectorError):
        require(str(path) in str(outcome), f"no place in {str(outcome)[:200]!r}", data)


def _replay(path: Path) -> int:
    dataset = discover(path)
    assert dataset.interval_ns is None or dataset.interval_ns >= 0
    source, rows = ParquetSource(dataset), 0
    while (batch := source.poll(0.0)) is not None:
        rows += len(batch.readings)
    return rows


def _artifacts() -> list[Artifact]:
    follow = PageLimit(1e-3)
    plain = make_artifact(flatline_rows=5, limit=follow)
    tables = {"error": np.linspace(0.1, 3.0, 50), "segment": np.zeros(50)}
    first = Artifact(plain.spec, plain.module, {"q": np.arange(3.0)}, tables, "# Pump\n")
    more = make_artifact(("flow",), family="linear", more=(("deep", 4),))
    return [first, more, make_artifact(family="vae", window=4)]


def _files_of(artifact: Artifact, directory: Path) -> dict[str, bytes]:
    artifacts.save(artifact, directory)
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def _readings(artifact: Artifact) -> Readings:
    """A few minutes of one series, so that windows fill and are scored."""
    num, channels = 20, len(artifact.spec.channels)
    times = 1_767_225_600_000_000_000 + np.arange(num) * artifact.spec.interval_ns
    values = np.sin(np.arange(num * channels, dtype=np.float64)).reshape(num, channels)
    zeros = np.zeros(num, np.int32)
    return Readings(("a",), zeros, times.astype(np.int64), values, zeros, np.arange(num))
