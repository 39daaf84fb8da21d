"""The daemon under the unit's filter of system calls, for real: hardening that kills the service is none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from detector.artifact.registry import publish
from tests.deploy.files import DEPLOY
from tests.deploy.test_deployment import run
from tests.deploy.test_notifications import configuration, send
from tests.support.artifacts import make_artifact
from tests.support.daemon import running, wait_for
from tests.support.service_manager import ServiceManager

pytestmark = pytest.mark.deployment
CONFINED = (
    "/usr/bin/python3",
    str(Path(__file__).with_name("confined.py")),
    str(DEPLOY / "systemd/streamgauge.service"),
)
FORBIDDEN = "import os, socket; {}"


@pytest.mark.parametrize(
    "attempt",
    ["os.chroot('/')", "os.nice(1)", "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)", "os.setuid(0)"],
)
def test_what_the_unit_forbids_is_forbidden(attempt: str) -> None:
    outcome = run([*CONFINED, "/usr/bin/python3", "-c", FORBIDDEN.format(attempt)])
    assert "PermissionError" in outcome.stderr


@pytest.mark.parametrize("family", ["conv", "lstm"])  # kernels of both kinds are compiled while they run
def test_the_daemon_needs_nothing_that_the_unit_forbids(
    family: str, kafka_bootstrap: str, kafka_topic: Callable[..., str], tmp_path: Path
) -> None:
    topic = kafka_topic(1)
    publish(make_artifact(family=family), tmp_path / "models/pump")
    config = configuration(tmp_path / "models/pump", kafka_bootstrap, topic)
    with (
        ServiceManager(str(tmp_path / "notify")) as manager,
        running(config, tmp_path, manager.environ, CONFINED) as daemon,
    ):
        manager.wait_for("READY=1")
        send(kafka_bootstrap, topic, 30)
        wait_for(lambda: daemon.readings() == 30, f"30 readings; see {daemon.log}")
        assert daemon.terminate() == 0
    assert daemon.events()[-1]["event"] == "stopped"
