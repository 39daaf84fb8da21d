"""Labels and alarm budgets of [[models]]: which series they choose, and which threshold a model gets."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.formats.places import joined
from detector.artifact.registry import publish
from detector.artifact.spec import Artifact
from detector.calibration.feedback import Feedback, add_feedback
from detector.calibration.recalibrate import recalibrated
from detector.config.load import load_config
from detector.config.models.budget import with_budget
from detector.config.models.entries import config_of, load_for
from detector.config.models.labels import patterns_of
from detector.config.models.section import ModelsSection
from detector.errors import ArtifactError, ConfigError
from detector.service.plant.loading import load_models
from tests.support.artifacts import make_artifact

PLACES = ("$.site", "$.line", "$.machine")
PART = st.text(st.sampled_from("ab/%*-"), max_size=4)
PATTERN = st.text(st.sampled_from("ab*?"), min_size=1, max_size=3)


def written(tmp_path: Path, entries: str, form: str = "") -> Path:
    path = tmp_path / "plant.toml"
    path.write_text(
        f'{entries}\n[kafka]\nbootstrap_servers = ["k:9092"]\ntopic = "t"\ngroup_id = "g"\n{form}'
    )
    return path


@given(st.tuples(PART, PART, PART), st.dictionaries(st.sampled_from(["site", "line", "machine"]), PATTERN))
def test_labels_choose_exactly_the_series_whose_parts_match(
    parts: tuple[str, str, str], labels: dict[str, str]
) -> None:
    escaped = [part.replace("%", "%25").replace("/", "%2F") for part in parts]
    values = dict(zip(("site", "line", "machine"), escaped, strict=True))
    wanted = all(fnmatchcase(values[label], pattern) for label, pattern in labels.items())
    patterns = patterns_of({label: (pattern,) for label, pattern in labels.items()}, PLACES)
    assert any(fnmatchcase(joined(parts), pattern) for pattern in patterns) == wanted


def test_labels_stand_for_patterns_of_names(tmp_path: Path) -> None:
    labels = 'labels = {site = ["berlin", "ulm"], machine = "pump-*"}'
    text = f'[[models]]\npath = "models/pump"\n{labels}'
    config = load_config(
        written(tmp_path, text, '[input]\nseries = ["$.site", "header:line", "$.machine"]\n')
    )
    own = config_of(config, config.models[0]).model.own_series
    assert own == ("berlin/*/pump-*", "ulm/*/pump-*")


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ('labels = {town = "ulm"}', "`town` is no part of [input] series, which has site, machine"),
        ('series = ["a"]\nlabels = {site = "ulm"}', "`series` and `labels` both choose series"),
        ('alarm_budget = "often"', "alarm budget 'often' is not NUMBER/UNIT"),
        ("labels = {site = []}", "labels"),
    ],
)
def test_wrong_entries_are_refused_with_the_key(tmp_path: Path, lines: str, told: str) -> None:
    path = written(
        tmp_path, f'[[models]]\npath = "m"\n{lines}', '[input]\nseries = ["$.site", "$.machine"]\n'
    )
    with pytest.raises(ConfigError) as error:
        load_config(path)
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("series", "is_right"),
    [
        ('["$.site", "$.machine"]', True),
        ('["header:site", "@.machine"]', True),
        ('["$.machine", "$.site"]', False),
        ('["$.site", "$.line", "$.machine"]', False),
    ],
)
def test_labels_need_the_same_parts_of_series_in_all_topics(
    tmp_path: Path, series: str, is_right: bool
) -> None:
    records = 'records = "$.all"\n' if "@" in series else ""
    form = (
        f'[input]\nseries = ["$.site", "$.machine"]\n[[inputs]]\ntopics = ["u"]\n{records}series = {series}\n'
    )

    def read(choice: str) -> None:
        path = written(tmp_path, f'[[models]]\npath = "m"\n{choice}', form)
        path.write_text(path.read_text().replace('topic = "t"', 'topics = ["t", "u"]'))
        load_config(path)

    read('series = ["*"]')
    if is_right:
        read('labels = {site = "ulm"}')
        return
    with pytest.raises(ConfigError, match=r"labels: an \[\[inputs\]\] has the series .*, and \[input\] has"):
        read('labels = {site = "ulm"}')


def test_a_budget_moves_the_threshold_as_calibrate_does_and_keeps_the_version(tmp_path: Path) -> None:
    artifact = publish(with_errors(), tmp_path / "pump")
    entry = f'[[models]]\npath = "{tmp_path / "pump"}"\nalarm_budget = "3/day"'
    path = written(tmp_path, entry)
    (loaded,) = load_models(load_config(path))
    spec = loaded.member.engine.artifact.spec
    expected = recalibrated(artifact, "3/day").spec.threshold
    assert spec.threshold == expected
    assert expected.value < artifact.spec.threshold.value  # more alarms are allowed
    assert loaded.member.engine.artifact.version == artifact.version
    assert load_for(path, str(tmp_path / "pump")).model == load_config(path).models[0]


def test_without_a_budget_or_with_its_own_the_model_stays_as_it_is() -> None:
    artifact = with_errors()
    own = artifact.spec.threshold.alarm_budget
    assert with_budget(artifact, ModelsSection(path="none")) is artifact
    assert with_budget(artifact, ModelsSection(path="none", alarm_budget=own)) is artifact


def test_a_model_without_held_out_errors_refuses_a_budget(tmp_path: Path) -> None:
    publish(replace(make_artifact(), held_out={}), tmp_path / "pump")
    config = load_config(
        written(tmp_path, f'[[models]]\npath = "{tmp_path / "pump"}"\nalarm_budget = "3/day"')
    )
    with pytest.raises(ArtifactError) as error:
        load_models(config)
    assert "alarm_budget '3/day'" in str(error.value)
    assert "keeps no held-out errors" in str(error.value)
    assert "or remove alarm_budget" in str(error.value)


@pytest.mark.parametrize("prefix", ["", "file://"])
@pytest.mark.parametrize("is_version", [False, True])
def test_a_budget_agrees_with_the_opinions_wherever_the_model_is(
    tmp_path: Path, prefix: str, is_version: bool
) -> None:
    artifact = publish(with_errors(), tmp_path / "pump")
    peak = 2.0 * recalibrated(artifact, "3/day").spec.threshold.value
    said = Feedback("a", "false-alarm", "pump-1", "2026-01-01T00:00:00Z", artifact.version, peak)
    add_feedback(tmp_path / "pump", said)
    path = f"{prefix}{tmp_path}/pump{f'/{artifact.version}' if is_version else ''}"
    found = with_budget(artifact, ModelsSection(path=path, alarm_budget="3/day"))
    assert found.spec.threshold == recalibrated(artifact, "3/day", (said,)).spec.threshold
    assert found.spec.threshold.value >= peak


SECRET = "s3://key:pass@bucket/models/pump?region=eu"


@pytest.mark.parametrize(
    ("path", "location"),
    [
        (SECRET, SECRET),
        (SECRET, "s3://bucket/models/pump?region=eu"),
        (SECRET, "s3://bucket/models/pump/?region=eu"),
        (SECRET, "s3://key:pass@bucket/models/pump/8546cced512f?region=eu"),
        ("gs://bucket/pump/", "gs://bucket/pump"),
        ("file:///models/pump", "/models/pump/8546cced512f"),
        ("/models/pump", "file:///models/pump"),
    ],
)
def test_an_entry_is_found_by_its_uri_or_that_of_a_version(tmp_path: Path, path: str, location: str) -> None:
    entries = f'[[models]]\npath = "s3://bucket/models/fan?region=eu"\n[[models]]\npath = "{path}"'
    assert load_for(written(tmp_path, entries), location).model.path == path


@pytest.mark.parametrize(
    "location",
    [
        "s3://key:pass@bucket/models?region=eu",
        "s3://key:pass@bucket/models/pump?region=us",
        "s3://key:pass@bucket/models/pump/a/b?region=eu",
        "models/pump",
    ],
)
def test_no_message_has_the_credentials_of_a_uri(tmp_path: Path, location: str) -> None:
    with pytest.raises(ConfigError, match=r"there are: s3://bucket/models/pump\?region=eu") as error:
        load_for(written(tmp_path, f'[[models]]\npath = "{SECRET}"'), location)
    twice = written(tmp_path, f'[[models]]\npath = "{SECRET}"\n[[models]]\npath = "{SECRET}"')
    with pytest.raises(ConfigError, match="is used twice") as second:
        load_config(twice)
    nowhere = ModelsSection(path=SECRET.replace("s3:", "nowhere:"), alarm_budget="3/day")
    with pytest.raises(ArtifactError, match=r"^nowhere://bucket/models/pump.* remove alarm_budget$") as third:
        with_budget(with_errors(), nowhere)
    assert not [one for one in (error, second, third) if "pass" in str(one.value)]


def with_errors() -> Artifact:
    """A model that keeps 20,000 held-out errors, calibrated to one alarm a week."""
    errors = np.random.default_rng(0).gamma(4.0, 0.2, 20_000)
    kept = {"error": errors, "segment": np.zeros(len(errors), np.int64)}
    return recalibrated(replace(make_artifact(), held_out=kept), "1/week")
