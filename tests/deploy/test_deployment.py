"""deploy/ held against the tools that would use it: linters, kustomize, helm, systemd. `make deployment`."""

from __future__ import annotations

import os
import shutil
import subprocess
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.files import CONFIGS, DEPLOY, ROOT, documents, pod_specs, violations

pytestmark = pytest.mark.deployment

TOOLS = Path(os.environ.get("STREAMGAUGE_DEPLOYMENT_TOOLS", ROOT / "build/deployment"))
OVERLAYS = ("small", "production", "explorers", "kinds", "plant", "cluster")
CRDS = {"ServiceMonitor", "ScaledObject"}  # of which no schema can be had: held to their keys below
EXPOSURE = 11  # of systemd-analyze security, in tenths: 1.1 of 10
UNIT = DEPLOY / "systemd/streamgauge.service"


def tool(name: str) -> str:
    """The path of a tool. Fails where it is not installed: nothing is skipped here."""
    for place in ("bin", "venv/bin", "npm/node_modules/.bin"):
        if (TOOLS / place / name).exists():
            return str(TOOLS / place / name)
    found = shutil.which(name)
    assert found, f"{name} is not installed; `make deployment` does"
    return found


def run(words: Sequence[object], cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [str(word) for word in words]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, timeout=300)


def output(words: Sequence[object]) -> str:
    outcome = run(words)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    return outcome.stdout


def rendered(overlay: str) -> str:
    return output([tool("kustomize"), "build", DEPLOY / "kubernetes/overlays" / overlay])


def chart(*settings: str, values: Path | None = None) -> str:
    flags = [word for setting in settings for word in ("--set", setting)]
    flags += [] if values is None else ["-f", str(values)]
    place = DEPLOY / "helm/streamgauge"
    return output(
        [
            tool("helm"),
            "template",
            "streamgauge",
            place,
            "--kube-version",
            "1.34.0",
            "-n",
            "streamgauge",
            *flags,
        ]
    )


def refused(text: str, directory: Path) -> str:
    """What a strict validation says against manifests; empty where all is well."""
    path = directory / "manifests.yaml"
    path.write_text(text)
    outcome = run([tool("kubernetes-validate"), "--strict", path])
    unknown = {kind for kind in CRDS if f"for kind {kind}" in outcome.stdout + outcome.stderr}
    warned = (outcome.stdout + outcome.stderr).count("Couldn't find schema")
    assert warned == len(unknown), outcome.stdout + outcome.stderr
    return "" if outcome.returncode == 0 else outcome.stdout + outcome.stderr or "refused"


def of_kind(manifests: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    (found,) = [one for one in manifests if one["kind"] == kind]
    return found


def test_the_dockerfile_is_clean() -> None:
    assert output([tool("hadolint"), DEPLOY / "Dockerfile"]) == ""


def test_the_linter_of_dockerfiles_sees_a_fault(tmp_path: Path) -> None:
    worse = (DEPLOY / "Dockerfile").read_text().replace("USER 10001:10001", "USER root\nRUN cd /tmp")
    (tmp_path / "Dockerfile").write_text(worse)
    assert run([tool("hadolint"), tmp_path / "Dockerfile"]).returncode != 0


def test_the_compose_file_is_valid_and_clean() -> None:
    assert output([tool("docker-compose"), "-f", DEPLOY / "compose.yml", "config", "-q"]) == ""
    output([tool("dclint"), "--max-warnings", "0", "-c", DEPLOY / ".dclintrc.yaml", DEPLOY / "compose.yml"])


def test_an_unknown_key_in_the_compose_file_is_refused(tmp_path: Path) -> None:
    worse = (DEPLOY / "compose.yml").read_text().replace("read_only: true", "readonly: true")
    (tmp_path / "compose.yml").write_text(worse)
    assert run([tool("docker-compose"), "-f", tmp_path / "compose.yml", "config", "-q"]).returncode != 0


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_is_valid(overlay: str, tmp_path: Path) -> None:
    assert refused(rendered(overlay), tmp_path) == ""


def test_an_unknown_key_in_a_manifest_is_refused(tmp_path: Path) -> None:
    worse = rendered("small").replace("podManagementPolicy", "podManagmentPolicy")
    assert "podManagmentPolicy" in refused(worse, tmp_path)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_selects_pods_finds_them(overlay: str) -> None:
    """Services and budgets each find the pods of one workload; each pod has one policy, which allows DNS."""
    manifests = documents(rendered(overlay))
    workloads = [one["spec"] for one in manifests if one["kind"] in ("StatefulSet", "Deployment")]
    pods = [one["template"]["metadata"]["labels"].items() for one in workloads]
    of_workloads = [one["selector"]["matchLabels"] for one in workloads]
    for one in workloads:
        spread = one["template"]["spec"].get("topologySpreadConstraints", [])
        of_workloads += [constraint["labelSelector"]["matchLabels"] for constraint in spread]
    others = [one["spec"]["selector"] for one in manifests if one["kind"] == "Service"]
    others += [
        one["spec"]["selector"]["matchLabels"] for one in manifests if one["kind"] == "PodDisruptionBudget"
    ]
    assert len(others) >= 2
    for selector in (*of_workloads, *others):
        assert len([labels for labels in pods if selector and selector.items() <= labels]) == 1, selector
    policies = [one["spec"] for one in manifests if one["kind"] == "NetworkPolicy"]
    allowed = [one["podSelector"]["matchLabels"].items() for one in policies]
    assert all(sum(selector <= labels for selector in allowed) == 1 for labels in pods)
    for one in policies:
        assert one["egress"][0]["to"][0]["podSelector"] == {"matchLabels": {"k8s-app": "kube-dns"}}
    services = {one["metadata"]["name"] for one in manifests if one["kind"] == "Service"}
    assert {one["serviceName"] for one in workloads if "serviceName" in one} - {
        "streamgauge-archiver"
    } <= services


def test_each_group_of_a_plant_mounts_its_own_configuration_of_several_models() -> None:
    manifests = documents(rendered("plant"))
    files = {
        one["metadata"]["name"]: tomllib.loads(one["data"]["streamgauge.toml"])
        for one in manifests
        if one["kind"] == "ConfigMap"
    }
    mounted = []
    for workload in (one for one in manifests if one["kind"] == "StatefulSet"):
        (spec,) = pod_specs(workload)
        mounted += [one["configMap"]["name"] for one in spec["volumes"] if "configMap" in one]
    assert sorted(mounted) == sorted(files)
    assert [len(one["models"]) for one in files.values()] == [2, 2]
    for unique in ("kafka", "output"):
        assert len({str(sorted(one[unique].items())) for one in files.values()}) == 2


def test_a_chart_takes_a_configuration_of_several_models(tmp_path: Path) -> None:
    text = (DEPLOY / "kubernetes/overlays/plant/machines/streamgauge.toml").read_text()
    (tmp_path / "values.yaml").write_text(yaml.safe_dump({"config": text}))
    found = documents(chart(values=tmp_path / "values.yaml"))
    assert tomllib.loads(of_kind(found, "ConfigMap")["data"]["streamgauge.toml"]) == tomllib.loads(text)


def test_the_custom_resources_point_at_what_is_there() -> None:
    """No schema of theirs can be had here: their keys are compared with those that their documents name."""
    manifests = documents(rendered("production"))
    monitor, scaled = (of_kind(manifests, kind)["spec"] for kind in ("ServiceMonitor", "ScaledObject"))
    service = of_kind(manifests, "Service")
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["endpoints"][0]["port"] in {port["name"] for port in service["spec"]["ports"]}
    known = {"port", "path", "interval", "scrapeTimeout", "relabelings", "scheme", "tlsConfig"}
    assert set(monitor) == {"selector", "endpoints"}
    assert set(monitor["endpoints"][0]) <= known
    stateful = of_kind(manifests, "StatefulSet")
    assert scaled["scaleTargetRef"] == {
        "apiVersion": stateful["apiVersion"],
        "kind": "StatefulSet",
        "name": stateful["metadata"]["name"],
    }
    assert "replicas" not in stateful["spec"]  # or every application of it sets KEDA's number back
    trigger = scaled["triggers"][0]
    assert trigger["type"] == "prometheus"
    assert set(trigger["metadata"]) == {"serverAddress", "query", "threshold"}
    assert f'namespace="{stateful["metadata"]["namespace"]}"' in trigger["metadata"]["query"]


def test_every_reader_of_kafka_logs_in_where_login_is_asked_for() -> None:
    manifests = documents(rendered("production"))
    for kind, name in (("StatefulSet", "detector"), ("CronJob", "record"), ("CronJob", "train")):
        (spec,) = pod_specs(of_kind(manifests, kind))
        (one,) = [c for c in [*spec.get("initContainers", []), *spec["containers"]] if c["name"] == name]
        values = {variable["name"]: variable.get("value") for variable in one["env"]}
        mounts = {mount["name"]: mount["mountPath"] for mount in one["volumeMounts"]}
        assert values["STREAMGAUGE_KAFKA__SASL_PASSWORD_FILE"].startswith(mounts["kafka"])
        assert "kafka" in {volume["name"] for volume in spec["volumes"]}
        assert violations(spec) == set()


def test_the_chart_is_clean_and_valid(tmp_path: Path) -> None:
    output([tool("helm"), "lint", "--strict", DEPLOY / "helm/streamgauge"])
    assert refused(chart(), tmp_path) == ""
    secrets = ("saslSecret=streamgauge-kafka", "httpSecret=streamgauge-http")
    more = (*secrets, "serviceMonitor.enabled=true", "storage.existingClaim=models")
    everything = chart(*more)
    assert refused(everything, tmp_path) == ""
    (spec,) = pod_specs(of_kind(documents(everything), "StatefulSet"))
    assert violations(spec) == set()


def without_names(manifest: dict[str, Any]) -> dict[str, Any]:
    """A manifest's specification without what tells one installation from another."""
    text = yaml.safe_dump(manifest["spec"], sort_keys=True)
    kept = [
        line for line in text.splitlines() if "app.kubernetes.io/" not in line and "checksum/" not in line
    ]
    found: dict[str, Any] = yaml.safe_load("\n".join(kept))
    template = found.get("template", {})
    for volume in template.get("spec", {}).get("volumes", []):
        volume.get("configMap", {}).pop("name", None)  # kustomize adds a hash
    template.pop("metadata", None)
    return found


@pytest.mark.parametrize("kind", ["StatefulSet", "PodDisruptionBudget", "Service", "NetworkPolicy"])
def test_helm_and_kustomize_make_the_same(kind: str) -> None:
    ours = documents(output([tool("kustomize"), "build", DEPLOY / "kubernetes/base"]))
    assert without_names(of_kind(documents(chart()), kind)) == without_names(of_kind(ours, kind))


def test_helm_and_kustomize_log_in_and_serve_in_the_same_way() -> None:
    (ours,) = pod_specs(of_kind(documents(rendered("production")), "StatefulSet"))
    secrets = ("saslSecret=streamgauge-kafka", "httpSecret=streamgauge-http")
    (theirs,) = pod_specs(of_kind(documents(chart(*secrets)), "StatefulSet"))

    def login(spec: dict[str, Any]) -> Any:
        (one,) = spec["containers"]
        names = {variable["name"]: variable for variable in one["env"]}
        probes = [one[f"{name}Probe"]["httpGet"] for name in ("startup", "readiness", "liveness")]
        assert {probe["scheme"] for probe in probes} == {"HTTPS"}
        volumes = {one["name"]: one for one in spec["volumes"] if one["name"] in ("kafka", "http")}
        return names, volumes, probes

    assert login(theirs) == login(ours)


def test_helm_and_kustomize_scrape_over_https_in_the_same_way() -> None:
    ours = of_kind(documents(rendered("production")), "ServiceMonitor")["spec"]["endpoints"][0]
    flags = ("httpSecret=streamgauge-http", "serviceMonitor.enabled=true")
    theirs = of_kind(documents(chart(*flags)), "ServiceMonitor")["spec"]["endpoints"][0]
    assert ours == theirs
    assert (ours["scheme"], ours["tlsConfig"]["serverName"]) == ("https", "streamgauge")


def test_the_configuration_reaches_both(tmp_path: Path) -> None:
    for text in (rendered("small"), chart()):
        data = of_kind(documents(text), "ConfigMap")["data"]
        assert data["streamgauge.toml"].strip() == CONFIGS[1].read_text().strip()


def unit(directory: Path, **changes: str) -> Path:
    """The unit and its drop-ins with a program that exists here, to be looked at without systemd running."""
    text = UNIT.read_text().replace("/opt/streamgauge/bin/streamgauge", "/bin/true")
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    path = directory / UNIT.name
    path.write_text(text)
    shutil.copytree(DEPLOY / "systemd/streamgauge.service.d", directory / "streamgauge.service.d")
    return path


def test_the_unit_is_understood_to_the_last_key(tmp_path: Path) -> None:
    outcome = run([tool("systemd-analyze"), "verify", unit(tmp_path)])
    assert (outcome.returncode, outcome.stdout, outcome.stderr) == (0, "", "")


def test_an_unknown_key_in_the_unit_is_noticed(tmp_path: Path) -> None:
    outcome = run([tool("systemd-analyze"), "verify", unit(tmp_path, WatchdogSec="WatchdogSecs")])
    assert "WatchdogSecs" in outcome.stderr


@pytest.mark.parametrize(
    ("changes", "code"), [({}, 0), ({"RestrictNamespaces=yes": "RestrictNamespaces=no"}, 1)]
)
def test_the_unit_is_as_little_exposed_as_the_documents_say(
    changes: dict[str, str], code: int, tmp_path: Path
) -> None:
    command = ["security", "--offline=true", f"--threshold={EXPOSURE}", unit(tmp_path, **changes)]
    outcome = run([tool("systemd-analyze"), *command])
    assert outcome.returncode == code, outcome.stdout
