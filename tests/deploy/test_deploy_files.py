"""deploy/ as text: what it names exists, what it pins is pinned, what it starts can be started.

What needs tools (linters, kustomize, helm, systemd, an image) is in test_deployment.py: `make deployment`.
"""

from __future__ import annotations

import copy
import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from distributed.cli import dask_scheduler, dask_worker

import streamgauge
from detector.config.load import Config
from detector.engine.engine import Engine
from detector.metrics.recorder import Metrics
from detector.metrics.sources import NoSources
from detector.service import loop_watch
from tests.deploy.files import (
    CONFIGS,
    DEPLOY,
    FULL,
    OURS,
    ROOT,
    compose,
    containers,
    manifests,
    pod_specs,
    unit_lines,
    violations,
)
from tests.support import kafka_broker
from tests.support.artifacts import make_artifact
from trainer.demo.plant import Plant

TEXTS = [path for path in sorted(DEPLOY.rglob("*")) if path.is_file() and path.parent.name != "__pycache__"]
UNIT = DEPLOY / "systemd/streamgauge.service"
WORKLOADS = [
    (path, spec)
    for path, manifest in manifests()
    if "kustomize" not in manifest.get("apiVersion", "") and not {"sasl", "https"} & {*path.parts}
    for spec in pod_specs(manifest)
]


def relative(path: object) -> str:
    return path.relative_to(ROOT).as_posix() if isinstance(path, Path) else ""


def images() -> Iterator[str]:
    """Every image that is named outside of Helm's templates."""
    yield from (service["image"] for service in compose()["services"].values())
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    yield from re.findall(r"^ARG PYTHON_IMAGE=(.+)$", dockerfile, re.MULTILINE)
    for _, manifest in manifests():
        yield from (f"{one['name']}:{one['newTag']}" for one in manifest.get("images", []))


@pytest.mark.parametrize("image", sorted(set(images())))
def test_an_image_is_pinned_to_a_version(image: str) -> None:
    assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+\.\d+[\w.-]*", image)


def test_our_image_has_our_version_everywhere() -> None:
    ours = {image for image in images() if image.startswith(OURS)}
    assert ours == {f"{name}:{streamgauge.__version__}" for name in (OURS, FULL)}
    chart = (DEPLOY / "helm/streamgauge/Chart.yaml").read_text()
    assert set(re.findall(r"^(?:appVersion|version): (.+)$", chart, re.MULTILINE)) == {
        streamgauge.__version__
    }


def test_compose_starts_the_kafka_that_is_tested() -> None:
    assert compose()["services"]["kafka"]["image"] == f"apache/kafka:{kafka_broker.VERSION}"


@pytest.mark.parametrize("path", CONFIGS, ids=relative)
def test_a_configuration_passes_the_check(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert streamgauge.main(["config", "check", str(path)]) == 0
    assert "syntax correct" in capsys.readouterr().out


def test_kustomize_and_helm_ship_one_configuration() -> None:
    assert CONFIGS[1].read_text() == CONFIGS[2].read_text()


@pytest.mark.parametrize("path", TEXTS, ids=relative)
def test_a_variable_of_ours_names_a_key_that_exists(path: Path) -> None:
    for section, key in re.findall(r"STREAMGAUGE_([A-Z]+)__([A-Z_]+)", path.read_text()):
        if section == "SECTION":
            continue  # what stands for any of them in a comment
        model = Config.model_fields[section.lower()].annotation
        assert key.lower() in model.model_fields, f"{section}__{key}"


@pytest.mark.parametrize("name", sorted(compose()["services"]))
def test_a_service_is_bounded_observed_and_reached_from_this_machine_only(name: str) -> None:
    service = compose()["services"][name]
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory"}
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    assert "restart" in service
    assert service["logging"]["options"]
    if service["image"].startswith(OURS):  # whose image has a health check
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
    else:
        assert service["healthcheck"]["test"][0] == "CMD"


def test_what_compose_mounts_is_there_or_a_volume() -> None:
    declared = compose()["volumes"]
    for name, service in compose()["services"].items():
        for mount in service.get("volumes", []):
            source = mount.partition(":")[0]
            assert (DEPLOY / source).exists() if source.startswith(".") else source in declared, (name, mount)


def test_the_commands_of_compose_are_valid() -> None:
    services = compose()["services"]
    (line,) = services["train"]["command"][1:]
    words = shlex.split(line[line.index(f"{OURS} ") :])
    assert streamgauge._parse(words[1:]).out == "models/plant"
    for name in ("history", "simulator"):
        script = services[name]["command"][0]
        assert any(mount.endswith(f":{script}:ro") for mount in services[name]["volumes"])


@pytest.mark.parametrize(("path", "spec"), WORKLOADS, ids=relative)
def test_a_pod_is_restricted_and_has_figures(path: Path, spec: dict[str, Any]) -> None:
    assert violations(spec) == set()


@pytest.mark.parametrize(("path", "spec"), WORKLOADS, ids=relative)
@pytest.mark.parametrize(
    ("where", "key", "value"),
    [
        ("pod", "hostNetwork", True),
        ("pod", "automountServiceAccountToken", True),
        ("container", "securityContext", {}),
        ("container", "resources", {}),
    ],
)
def test_a_pod_that_is_not_would_be_noticed(
    path: Path, spec: dict[str, Any], where: str, key: str, value: object
) -> None:
    broken = copy.deepcopy(spec)
    (broken if where == "pod" else broken["containers"][0])[key] = value
    assert violations(broken)


@pytest.mark.parametrize(("path", "spec"), WORKLOADS, ids=relative)
def test_a_container_starts_with_a_command_line_that_is_valid(path: Path, spec: dict[str, Any]) -> None:
    for one in containers(spec):
        if "command" in one:
            program, role = one["command"]
            assert program == "dask"
            parsed = {"scheduler": dask_scheduler.main, "worker": dask_worker.main}[role]
            assert parsed.make_context(role, list(one["args"])).params["dashboard"] is False
            assert one["image"] == FULL
            continue
        verb = streamgauge._parse(one["args"]).verb
        assert verb == one["args"][0]
        assert one["image"] == (OURS if verb == "run" else FULL)  # the others train, or need the explorer


def test_the_members_of_a_group_have_names_that_stay() -> None:
    (detector,) = [one for _, spec in WORKLOADS for one in containers(spec) if one["name"] == "detector"]
    values = {variable["name"]: variable.get("value") for variable in detector["env"]}
    assert values["STREAMGAUGE_KAFKA__GROUP_INSTANCE_ID"] == "$(POD_NAME)"
    assert values["STREAMGAUGE_DELIVERY__TRANSACTIONAL_ID"] == "$(POD_NAMESPACE).$(POD_NAME)"
    names = [variable["name"] for variable in detector["env"]]
    for value in filter(None, values.values()):  # Kubernetes fills in what was defined before
        for used in re.findall(r"\$\((\w+)\)", value):
            assert used in names[: names.index("STREAMGAUGE_KAFKA__GROUP_INSTANCE_ID")]


def test_the_unit_starts_what_exists_and_watches_longer_than_the_probe() -> None:
    lines = unit_lines(UNIT)
    commands = [value for key, value in lines if key in {"ExecStart", "ExecStartPre"}]
    assert len(commands) == 2
    for command in commands:
        program, *words = shlex.split(command)
        assert Path(program).name == OURS
        assert streamgauge._parse(words).verb == words[0]
    values = dict(lines)
    assert values["Type"] == "notify"
    assert float(values["WatchdogSec"].removesuffix("min")) * 60 > loop_watch.STALLED_SECONDS


@pytest.mark.parametrize("path", TEXTS, ids=relative)
def test_no_secret_lies_in_a_file(path: Path) -> None:
    text = path.read_text()
    assert not re.search(
        r"(?i)(password|secret|token)\s*[:=]\s*[\"']?[A-Za-z0-9+/]{8,}[\"']?\s*$", text, re.MULTILINE
    )
    assert "PRIVATE KEY" not in text


def test_the_commands_for_trouble_find_what_they_look_for() -> None:
    """Every `curl .../metrics | grep WORD` of docs/operate.md matches a metric that the daemon serves."""
    exposition = Metrics(Engine(make_artifact()), 10, "0", NoSources()).exposition("text/plain")[0].decode()
    text = (ROOT / "docs/operate.md").read_text().replace("\\|", "|")
    words = re.findall(r"/metrics \| grep (?:-E )?'?([\w|]+)'?`", text)
    assert len(words) >= 5
    for word in [one for group in words for one in group.split("|")]:
        assert word in exposition


@pytest.fixture(scope="module")
def simulate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("simulate", DEPLOY / "compose/simulate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_simulated_plant_tells_the_same_story_however_it_is_cut(simulate: ModuleType) -> None:
    plant = Plant(interval_seconds=simulate.INTERVAL_SECONDS)
    step, start = plant.interval_ns, 1_767_225_600_000_000_000
    rows = np.arange(start // step, start // step + 360)  # an hour: four faults

    def told(plant: Plant, rows: np.ndarray) -> np.ndarray:
        first, last = int(rows[0]) * step, (int(rows[-1]) + 1) * step
        broken = Plant(
            interval_seconds=simulate.INTERVAL_SECONDS, faults=simulate.faults_between(plant, first, last)
        )
        return np.stack([broken.values(pump, rows) for pump in range(plant.num_pumps)])

    whole = told(plant, rows)
    for size in (1, 7, 97):
        parts = [told(plant, rows[at : at + size]) for at in range(0, len(rows), size)]
        np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)
    healthy = np.stack([plant.values(pump, rows) for pump in range(plant.num_pumps)])
    changed = ~((whole == healthy) | (np.isnan(whole) & np.isnan(healthy)))
    assert changed.any(axis=(1, 2)).sum() == 4  # on four pumps
    assert changed.any(axis=(0, 2)).sum() <= 4 * 30  # for five minutes each
    assert changed.any(axis=(0, 2)).sum() > 3 * 30


def test_the_history_for_training_has_every_pump_and_is_written_once(
    simulate: ModuleType, tmp_path: Path
) -> None:
    simulate.HISTORY_DAYS = 1
    simulate.write_history(tmp_path)
    files = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.parquet")}
    assert len(files) == 8
    simulate.write_history(tmp_path)  # a restarted compose leaves it as it is
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.parquet")} == files
