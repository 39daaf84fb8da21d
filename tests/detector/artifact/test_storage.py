"""Artifacts: written whole, read back equal, and refused with file and reason if anything is wrong."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from detector.artifact import registry
from detector.artifact import storage as artifacts
from detector.artifact.description import manifest as manifests
from detector.artifact.season import Calendar, Profile, Season, UsualError
from detector.artifact.spec import Artifact, Combine, OwnScale, PageLimit, Scoring
from detector.artifact.sum_limits import SumLimits
from detector.errors import ArtifactError
from detector.journal import read_journal
from tests.support.artifacts import make_artifact


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    artifacts.save(make_artifact(), tmp_path / "model")
    return tmp_path / "model"


def edit_manifest(directory: Path, change: object, *, resign: bool = False) -> None:
    path = directory / manifests.MANIFEST
    manifest = json.loads(path.read_text())
    change(manifest)
    if resign:
        manifest.pop("version")
        manifest = {"version": manifests.version_of(manifest), **manifest}
    path.write_text(json.dumps(manifest))


def test_what_was_saved_is_loaded(saved: Path) -> None:
    original, loaded = make_artifact(), artifacts.load(saved)
    assert loaded.spec == original.spec
    x = torch.randn(3, 8, 2).numpy()
    run, expected = (artifact.module[0].on("cpu") for artifact in (loaded, original))
    for one, other in zip(run(x, None, 8), expected(x, None, 8), strict=True):
        np.testing.assert_array_equal(one, other)
    assert not loaded.module.training


@pytest.mark.parametrize("limit", [None, PageLimit(1e-3, rise=2.0)])
def test_a_page_limit_is_kept(limit: PageLimit | None, tmp_path: Path) -> None:
    artifacts.save(make_artifact(limit=limit), tmp_path / "new")
    assert artifacts.load(tmp_path / "new").spec.threshold.limit == limit


def with_season(**changes: Any) -> Artifact:
    profile = Profile((0,) * 6 + (-1,), ((1.0,) * 24,), ((0.5,) * 24,), 0.8)
    sums = SumLimits((9.0, 0.0), (0.3, 1.0), (0.0, 0.0), ((1.0, 1.0),) * 5)
    calendar = Calendar("Europe/Berlin", {"2026-12-25": 6})
    found = Season(calendar, 3600, (profile, Profile()), (0.1, 0.0), {"a": (0.2, 0.0)}, sums)
    artifact = make_artifact()
    return replace(artifact, spec=replace(artifact.spec, season=replace(found, **changes)))


def test_a_season_is_kept(tmp_path: Path) -> None:
    artifact = with_season(usual_error=UsualError((30,), (2.5,)))
    artifacts.save(artifact, tmp_path / "new")
    assert artifacts.load(tmp_path / "new").spec.season == artifact.spec.season


@pytest.mark.parametrize(
    "changes",
    [
        {"calendar": Calendar("Mars/Olympus")},
        {"calendar": Calendar("UTC", {"someday": 6})},
        {"calendar": Calendar("UTC", {"2026-12-25": 7})},
        {"slot_seconds": 7_000},
        {"profiles": (Profile(),)},
        {"profiles": (Profile((0,) * 7, ((1.0,) * 23,), ((1.0,) * 24,)), Profile())},
        {"profiles": (Profile((0,) * 7, ((1.0,) * 24,), ((0.0,) * 24,)), Profile())},
        {"profiles": (Profile((1,) * 7, ((1.0,) * 24,), ((1.0,) * 24,)), Profile())},
        {"sums": None},
        {"baseline": (0.0,)},
        {"usual_error": UsualError((168,), (2.0,))},
        {"usual_error": UsualError((3,), (0.5,))},
    ],
    ids=str,
)
def test_a_season_that_cannot_be_is_refused(changes: dict[str, Any], tmp_path: Path) -> None:
    artifacts.save(with_season(**changes), tmp_path / "new")
    with pytest.raises(ArtifactError, match="a field of the description is missing or wrong"):
        artifacts.load(tmp_path / "new")


@pytest.mark.parametrize("adapts", [True, False])
def test_a_threshold_of_an_older_release_gets_the_default_limit(saved: Path, adapts: bool) -> None:
    old = {"lowest": 0.5, "rise": 1.35, "forgiveness": 1.65, "alarms_a_row": 2e-3, "learn_after": 256}

    def change(manifest: dict[str, Any]) -> None:
        manifest["spec"]["threshold"].pop("limit")
        manifest["spec"]["threshold"]["adaptation"] = old if adapts else None

    edit_manifest(saved, change, resign=True)
    expected = PageLimit(alarms_a_row=0.5e-3) if adapts else None
    assert artifacts.load(saved).spec.threshold.limit == expected


def test_a_description_of_an_older_release_keeps_its_rule_of_evidence(saved: Path) -> None:
    edit_manifest(saved, lambda manifest: manifest["spec"]["scoring"].pop("combine"), resign=True)
    assert artifacts.load(saved).spec.scoring.combine == "worst"


@pytest.mark.parametrize("combine", ["mean", "worst"])
def test_the_rule_of_evidence_is_kept(combine: Combine, tmp_path: Path) -> None:
    artifacts.save(make_artifact(scoring=Scoring(2, combine)), tmp_path / "new")
    assert artifacts.load(tmp_path / "new").spec.scoring.combine == combine


def with_own_scales(entries: tuple[OwnScale, ...]) -> Artifact:
    made = make_artifact()
    return replace(made, spec=replace(made.spec, own_scales={"training": entries, "scale": ()}))


def test_own_scales_come_back_whatever_the_series_is_called(tmp_path: Path) -> None:
    made = with_own_scales((OwnScale("pressure", -1.5, 1e-9), OwnScale("flow", 0.0, 3.0)))
    artifacts.save(made, tmp_path / "model")
    assert artifacts.load(tmp_path / "model").spec == made.spec


@pytest.mark.parametrize(
    ("entries", "fault"),
    [
        ((OwnScale("flow", float("nan"), 1.0),), "center is nan"),
        ((OwnScale("flow", float("inf"), 1.0),), "center is inf"),
        ((OwnScale("flow", 0.0, 0.0),), "scale is 0.0"),
        ((OwnScale("flow", 0.0, -1.0),), "scale is -1.0"),
        ((OwnScale("flow", 0.0, float("nan")),), "scale is nan"),
        ((OwnScale("level", 0.0, 1.0),), "'level' is no channel of the model"),
        ((OwnScale("flow", 0.0, 1.0),) * 2, "'flow' occurs twice"),
    ],
)
def test_own_scales_that_cannot_be_used_are_refused(
    entries: tuple[OwnScale, ...], fault: str, tmp_path: Path
) -> None:
    artifacts.save(with_own_scales(entries), tmp_path / "model")
    with pytest.raises(ArtifactError, match=f"own_scales of series 'training': .*{fault}"):
        artifacts.load(tmp_path / "model")


def test_too_many_own_scales_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("detector.artifact.bounds.MOST_OWN_SCALES", 1)
    artifacts.save(
        with_own_scales((OwnScale("flow", 0.0, 1.0), OwnScale("pressure", 0.0, 1.0))), tmp_path / "a"
    )
    with pytest.raises(ArtifactError, match="own_scales has 2 entries; at most 1 are allowed"):
        artifacts.load(tmp_path / "a")


def test_the_series_of_the_sample_must_be_as_many_as_its_stretches(tmp_path: Path) -> None:
    made = make_artifact()
    artifacts.save(replace(made, spec=replace(made.spec, sampled=("pump-1",))), tmp_path / "model")
    with pytest.raises(ArtifactError, match="1 series of 0 sampled stretches"):
        artifacts.load(tmp_path / "model")


def test_an_artifact_and_its_description_are_shown_in_a_line() -> None:
    made = make_artifact(more=[("linear", 4)], interval_ns=60 * 10**9)
    words = (
        "family='ensemble', members=2, channels=('flow', 'pressure'), window=8, interval='60 s',"
        " alarm_budget='1/week')"
    )
    assert repr(made.spec) == f"Spec(name='pump', {words}"
    assert repr(made) == f"Artifact(name='pump', version='unsaved', {words}"
    wide = make_artifact(tuple(f"c{number}" for number in range(300)), family="linear", interval_ns=10**8)
    assert len(repr(wide)) < 200
    assert "interval='0.1 s'" in repr(wide)


def test_calibration_and_card_come_back(tmp_path: Path) -> None:
    plain = make_artifact()
    kept = {"error": np.array([3.0, np.nan])}
    full = Artifact(plain.spec, plain.module, {"error": np.array([1.0, 2.0])}, kept, "# Pump")
    artifacts.save(full, tmp_path / "model")
    loaded = artifacts.load(tmp_path / "model")
    assert loaded.card == "# Pump"
    np.testing.assert_array_equal(loaded.calibration["error"], [1.0, 2.0])
    np.testing.assert_array_equal(loaded.held_out["error"], kept["error"])


def test_the_version_is_a_function_of_the_content(tmp_path: Path) -> None:
    versions = [
        artifacts.save(make_artifact(seed=seed), tmp_path / f"m{i}").version
        for i, seed in enumerate([0, 0, 1])
    ]
    assert versions[0] == versions[1] != versions[2]


def test_no_directory_is_no_artifact(tmp_path: Path) -> None:
    with pytest.raises(
        ArtifactError, match=r"nowhere: not an artifact: no artifact\.json.*streamgauge train"
    ):
        artifacts.load(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "name", [manifests.WEIGHTS, manifests.CALIBRATION, manifests.HELD_OUT, manifests.CARD]
)
def test_a_changed_byte_is_noticed(saved: Path, name: str) -> None:
    content = bytearray((saved / name).read_bytes() or b"x")
    content[-1] ^= 1
    (saved / name).write_bytes(bytes(content))
    with pytest.raises(ArtifactError, match=rf"{name}: content does not match its hash"):
        artifacts.load(saved)


def test_a_truncated_weights_file_is_noticed(saved: Path) -> None:
    path = saved / manifests.WEIGHTS
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ArtifactError, match=r"model\.safetensors: .*truncated or tampered with"):
        artifacts.load(saved)


def test_a_missing_file_is_named(saved: Path) -> None:
    (saved / manifests.WEIGHTS).unlink()
    with pytest.raises(ArtifactError, match=r"model\.safetensors: cannot be read: No such file"):
        artifacts.load(saved)


def test_a_truncated_manifest_is_noticed(saved: Path) -> None:
    path = saved / manifests.MANIFEST
    path.write_text(path.read_text()[:50])
    with pytest.raises(ArtifactError, match=r"artifact\.json: damaged"):
        artifacts.load(saved)


def test_an_edited_threshold_is_noticed(saved: Path) -> None:
    edit_manifest(saved, lambda m: m["spec"]["threshold"].update(value=1e9))
    with pytest.raises(ArtifactError, match=r"content does not match its version .* it was edited"):
        artifacts.load(saved)


def test_another_format_is_refused_with_the_remedy(saved: Path) -> None:
    edit_manifest(saved, lambda m: m.update(format=99))
    with pytest.raises(ArtifactError, match=r"artifact format 99; this release reads format 2: retrain"):
        artifacts.load(saved)


def test_weights_of_other_channels_are_refused(saved: Path) -> None:
    more = {"name": "level", "center": 0.0, "scale": 1.0, "band": 2.0}
    edit_manifest(saved, lambda m: m["spec"]["channels"].append(more), resign=True)
    with pytest.raises(ArtifactError, match=r"weights do not fit the described model"):
        artifacts.load(saved)


def test_an_unknown_family_is_refused(saved: Path) -> None:
    edit_manifest(saved, lambda m: m["spec"]["members"][0].update(family="oracle"), resign=True)
    with pytest.raises(ArtifactError, match=r"unknown model family 'oracle'"):
        artifacts.load(saved)


def test_a_missing_field_is_named(saved: Path) -> None:
    edit_manifest(saved, lambda m: m["spec"]["members"][0].pop("window"), resign=True)
    with pytest.raises(ArtifactError, match=r"artifact\.json: .*window"):
        artifacts.load(saved)


def test_saving_over_an_artifact_replaces_it_and_leaves_no_scratch(saved: Path) -> None:
    artifacts.save(make_artifact(seed=7), saved)
    assert [path.name for path in saved.parent.iterdir()] == ["model"]
    assert torch.equal(
        next(artifacts.load(saved).module.parameters()), next(make_artifact(seed=7).module.parameters())
    )


def test_an_unwritable_place_is_an_error_with_the_path(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtifactError, match="file/model: cannot write the artifact"):
        artifacts.save(make_artifact(), tmp_path / "file" / "model")


@pytest.mark.parametrize("as_uri", [False, True])
def test_when_an_artifact_was_written_is_known_wherever_it_lies(tmp_path: Path, as_uri: bool) -> None:
    assert make_artifact().written_at is None
    saved = registry.publish(make_artifact(), tmp_path / "pump")
    manifest = tmp_path / "pump" / saved.version / manifests.MANIFEST
    os.utime(manifest, (1.7e9, 1.7e9))
    entry = tmp_path / "pump"
    assert registry.open_artifact(entry.as_uri() if as_uri else entry).written_at == 1.7e9


def test_the_registry_opens_the_current_version(tmp_path: Path) -> None:
    old = registry.publish(make_artifact(seed=0), tmp_path / "pump")
    new = registry.publish(make_artifact(seed=1), tmp_path / "pump")
    assert registry.open_artifact(tmp_path / "pump").version == new.version
    assert registry.open_artifact(tmp_path / "pump" / old.version).version == old.version
    assert sorted(p.name for p in (tmp_path / "pump").iterdir()) == sorted(
        [old.version, new.version, "current", "journal.jsonl", ".lock"]
    )


def test_publishing_twice_is_one_version(tmp_path: Path) -> None:
    for _ in range(2):
        registry.publish(make_artifact(), tmp_path / "pump")
    entry = tmp_path / "pump"
    assert len([path for path in entry.iterdir() if path.is_dir()]) == 1
    assert [one.action for one in read_journal(entry).events] == ["published", "promoted"]


def test_a_registry_at_a_uri_is_read(tmp_path: Path) -> None:
    published = registry.publish(make_artifact(), tmp_path / "pump")
    assert registry.open_artifact((tmp_path / "pump").as_uri()).version == published.version


def test_an_unreadable_uri_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="cannot be read"):
        registry.open_artifact((tmp_path / "nothing").as_uri())


def test_a_pointer_cannot_lead_out_of_the_registry(tmp_path: Path) -> None:
    registry.publish(make_artifact(), tmp_path / "pump")
    (tmp_path / "pump" / "current").write_text("../../etc")
    with pytest.raises(ArtifactError, match=r"'\.\./\.\./etc' is not a version"):
        registry.open_artifact(tmp_path / "pump")


def edit_spec(*path: object, value: object) -> Callable[[dict[str, Any]], None]:
    def change(manifest: dict[str, Any]) -> None:
        holder = manifest["spec"]
        for key in path[:-1]:
            holder = holder[key]
        holder[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("interval_ns",), 0),
        (("interval_ns",), "1000000000"),
        (("interval_ns",), 2**70),
        (("stride",), 0),
        (("batch_size",), 10**12),
        (("max_gap",), -1),
        (("scoring", "delay"), None),
        (("scoring", "combine"), "best"),
        (("threshold", "value"), float("nan")),
        (("threshold", "sharpness"), 0),
        (("threshold", "value"), 10**30),
        (("channels", 0, "scale"), 0.0),
        (("channels", 0, "center"), [1.0]),
        (("channels", 0, "name"), "pressure"),
        (("channels",), []),
        (("members", 0, "settled"), []),
        (("members", 0, "stride"), 2),
        (("members", 0, "stride"), 0),
        (("members", 0, "window"), 10**12),
        (("members", 0, "window"), 2**62),
        (("members", 0, "hyperparameters", "layers"), 10**9),
        (("members", 0, "hyperparameters", "nodes"), 10**15),
        (("members", 0, "hyperparameters", "latent"), "4"),
        (("own_scales",), [1]),
        (("own_scales",), {"pump-1": [1]}),
        (("own_scales",), {"pump-1": [{"channel": "flow", "center": "0", "scale": 1.0}]}),
        (("own_scales",), {"pump-1": [{"channel": "flow", "center": 0.0}]}),
        (("sampled",), 3),
    ],
)
def test_a_description_that_no_stream_can_be_scored_with_is_refused(
    saved: Path, path: tuple[object, ...], value: object
) -> None:
    edit_manifest(saved, edit_spec(*path, value=value), resign=True)
    with pytest.raises(ArtifactError, match=r"model/(artifact\.json|model\.safetensors): "):
        artifacts.load(saved)


def test_a_model_that_would_not_fit_into_memory_is_refused_before_it_is_built(saved: Path) -> None:
    """The description asks for four terabytes of whitening, though the file has a few kilobytes."""
    edit_manifest(saved, edit_spec("members", 0, "window", value=1_000_000), resign=True)
    with pytest.raises(ArtifactError, match=r"weights do not fit the described model: .* needed \(\("):
        artifacts.load(saved)


@pytest.mark.parametrize("name", [manifests.CALIBRATION, manifests.HELD_OUT, manifests.WEIGHTS])
@pytest.mark.parametrize("content", [b"", b"PAR1PAR1", b"\xff" * 64])
def test_damage_under_a_hash_that_is_right_is_refused(saved: Path, name: str, content: bytes) -> None:
    (saved / name).write_bytes(content)
    digest = manifests.sha256_of(content)
    edit_manifest(saved, lambda manifest: manifest["files"].update({name: digest}), resign=True)
    with pytest.raises(ArtifactError, match=rf"{name}: (damaged|cannot be read as weights)"):
        artifacts.load(saved)


def test_a_manifest_nested_without_end_is_refused(saved: Path) -> None:
    (saved / manifests.MANIFEST).write_text("[" * 100_000)
    with pytest.raises(ArtifactError, match=r"artifact\.json: damaged"):
        artifacts.load(saved)
