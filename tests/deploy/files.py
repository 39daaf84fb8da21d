"""What lies in deploy/, read for tests."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
CONFIGS = (
    DEPLOY / "compose/streamgauge.toml",
    DEPLOY / "kubernetes/base/streamgauge.toml",
    DEPLOY / "helm/streamgauge/files/streamgauge.toml",
    *sorted((DEPLOY / "kubernetes/overlays").rglob("streamgauge.toml")),
)
OURS, FULL = "streamgauge", "streamgauge-full"


def compose() -> dict[str, Any]:
    """compose.yml, its anchors resolved."""
    return yaml.safe_load((DEPLOY / "compose.yml").read_text())


def documents(text: str) -> list[dict[str, Any]]:
    """The objects of a YAML stream."""
    return [document for document in yaml.safe_load_all(text) if document]


def manifests() -> list[tuple[Path, dict[str, Any]]]:
    """Every object under kubernetes/, with its file."""
    paths = sorted((DEPLOY / "kubernetes").rglob("*.yaml"))
    return [(path, one) for path in paths for one in documents(path.read_text())]


def pod_specs(manifest: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The pod's specification of a workload."""
    if manifest["kind"] in ("StatefulSet", "Deployment", "Job"):
        yield manifest["spec"]["template"]["spec"]
    elif manifest["kind"] == "CronJob":
        yield manifest["spec"]["jobTemplate"]["spec"]["template"]["spec"]


def containers(spec: dict[str, Any]) -> list[dict[str, Any]]:
    return [*spec.get("initContainers", []), *spec.get("containers", [])]


def unit_lines(path: Path) -> list[tuple[str, str]]:
    """(key, value) of a systemd unit, in order."""
    lines = (line.partition("=") for line in path.read_text().splitlines())
    return [(key, value) for key, sign, value in lines if sign and re.fullmatch(r"[A-Z]\w+", key)]


def violations(spec: dict[str, Any]) -> set[str]:
    """What Kubernetes' restricted pod security standard, and we, would say of a pod."""
    pod = spec.get("securityContext", {})
    found = {f"pod: {key}" for key in ("hostNetwork", "hostPID", "hostIPC") if spec.get(key)}
    if spec.get("automountServiceAccountToken") is not False:
        found.add("pod: automountServiceAccountToken")
    if any("hostPath" in volume for volume in spec.get("volumes", [])):
        found.add("pod: hostPath")
    for one in containers(spec):
        context = {**pod, **one.get("securityContext", {})}
        wanted = {"runAsNonRoot": True, "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True}
        found |= {f"{one['name']}: {key}" for key, value in wanted.items() if context.get(key) is not value}
        if context.get("runAsUser", 0) == 0:
            found.add(f"{one['name']}: runAsUser")
        if context.get("capabilities", {}) != {"drop": ["ALL"]}:
            found.add(f"{one['name']}: capabilities")
        if context.get("seccompProfile", {}).get("type") != "RuntimeDefault":
            found.add(f"{one['name']}: seccompProfile")
        resources = one.get("resources", {})
        if not {"cpu", "memory"} <= set(resources.get("requests", {})) or "memory" not in resources.get(
            "limits", {}
        ):
            found.add(f"{one['name']}: resources")
    return found
