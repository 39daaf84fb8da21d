"""What happens once in a soak beside the kills, and the alert that must say so."""

from __future__ import annotations

import shutil
import signal
import ssl
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from kafka import KafkaAdminClient

from tests.faults.cluster import Cluster, Member, start, wait_for
from tests.faults.groups.alerts import Alerts
from tests.support.certificates import Authority

EXPIRING = {
    "transactional.id.expiration.ms": "60000",
    "transaction.remove.expired.transaction.cleanup.interval.ms": "5000",
}
"""Properties of a broker that forgets a transactional id after a minute without a transaction."""
_NO_DATA = "StreamgaugeStreamSilent"
_DISK_BYTES, _ROOM_BYTES = 4 << 30, 64 << 20


class SmallDisk:
    """A file system of its own for the broker, which can be full; it needs the right to mount."""

    def __init__(self, place: Path) -> None:
        """Mount it. Raises OSError with the reason if that is not allowed here."""
        place.mkdir()
        self.place = place
        self._mount("-t", "tmpfs", "-o", f"size={_DISK_BYTES}", "none")

    def fill(self) -> None:
        """Leave no room from now on."""
        used = shutil.disk_usage(self.place).used
        self._mount("-o", f"remount,size={used}")

    def free(self) -> None:
        """Have room again."""
        self._mount(
            "-o", f"remount,size={max(_DISK_BYTES, shutil.disk_usage(self.place).used + _ROOM_BYTES)}"
        )

    def close(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.place)], check=False, capture_output=True)

    def _mount(self, *arguments: str) -> None:
        done = subprocess.run(
            ["mount", *arguments, str(self.place)], check=False, capture_output=True, text=True
        )
        if done.returncode:
            raise OSError(done.stderr.strip())


@dataclass
class Scene:
    """What an event may touch. `write` writes rows for some seconds; `catch_up` waits for all of them."""

    cluster: Cluster
    group: str
    members: list[Member]
    spare: Member
    alerts: Alerts
    authority: Authority
    directory: Path
    write: Callable[[float], None] = time.sleep
    catch_up: Callable[[], float] = time.monotonic
    quiet_seconds: float = 180.0
    disk_seconds: float = 60.0
    disk: SmallDisk | None = None
    problems: list[str] = field(default_factory=list)

    def expect(self, alert: str, write: bool = True) -> float:
        """Wait until an alert fires, and write rows meanwhile; note a problem if it does not."""
        began = time.monotonic()

        def fires() -> bool:
            if write:
                self.write(0.5)
            return self.alerts.firing(alert)

        try:
            wait_for(fires, alert, every=0.5)
        except TimeoutError:
            self.problems.append(f"{alert} did not fire")
        return time.monotonic() - began


def rebalance(scene: Scene) -> str:
    """A further member joins, and leaves again in an orderly way."""
    started = len(scene.spare.events("started"))
    start(scene.spare)

    def has_joined() -> bool:
        scene.write(0.5)
        return len(scene.spare.events("started")) > started and scene.spare.holds_partitions

    wait_for(has_joined, f"a member to join; see {scene.spare.log}")
    scene.spare.send(signal.SIGTERM)

    def has_left() -> bool:
        scene.write(0.5)
        return not scene.spare.is_alive

    wait_for(has_left, "the member to leave")
    scene.spare.pid = 0
    return f"a member joined and left, live again after {scene.catch_up():.1f} s"


def expired_ids(scene: Scene) -> str:
    """No row for minutes: the broker forgets the transactional ids. Then rows come again."""
    began = time.monotonic()
    took = scene.expect(_NO_DATA, write=False)
    wait_for(
        lambda: time.monotonic() - began > scene.quiet_seconds and not _has_ids(scene),
        "the broker to forget the transactional ids",
        scene.quiet_seconds + 120,
        every=1.0,
    )
    seconds = time.monotonic() - began
    scene.write(2.0)
    return f"silent for {seconds:.0f} s, told after {took:.1f} s, live again after {scene.catch_up():.1f} s"


def changed_certificate(scene: Scene) -> str:
    """The port of member 0 gets a certificate that nobody trusts, then a good one; it is never restarted.

    An open connection keeps its certificate. So Prometheus connects again, as it does after a restart.
    """
    place, pid = scene.directory / "tls", scene.members[0].pid
    port = port_of(scene.members[0])
    before = ssl.get_server_certificate(("127.0.0.1", port))
    stranger = Authority(scene.directory, "stranger").issue("127.0.0.1")
    _replace(place, stranger.certificate, stranger.key)
    scene.alerts.connect_again()
    took = scene.expect("StreamgaugeDown")
    good = scene.authority.issue("127.0.0.1", "localhost")
    _replace(place, good.certificate, good.key)

    def is_trusted() -> bool:
        scene.write(0.5)
        with suppress(OSError):
            return ssl.get_server_certificate(("127.0.0.1", port)).strip() in good.certificate.read_text()
        return False

    wait_for(is_trusted, "the new certificate to be served")
    if ssl.get_server_certificate(("127.0.0.1", port)) == before or scene.members[0].pid != pid:
        scene.problems.append("the certificate did not change in the running process")
    wait_for(lambda: (scene.write(0.5), not scene.alerts.firing("StreamgaugeDown"))[1], "Down to resolve")
    return f"certificate of nobody's told after {took:.1f} s, a good one served again"


def full_disk(scene: Scene) -> str:
    """The disk of the broker is full for a while, and the broker stops. Then it has room and starts.

    Nobody can write or read then. What is told is that no data arrives.
    """
    if scene.disk is None:
        return "not done: this machine lets us mount no file system for the broker"
    wait_for(lambda: not scene.alerts.firing(_NO_DATA), "an older silence to resolve")
    began = time.monotonic()
    scene.disk.fill()
    took = scene.expect(_NO_DATA, write=False)
    wait_for(lambda: time.monotonic() - began > scene.disk_seconds, "the end of the full disk", 3_600.0, 0.5)
    scene.disk.free()
    scene.cluster.restart_broker()
    return f"full, told after {took:.1f} s; live again after {scene.catch_up():.1f} s"


EVENTS: dict[str, Callable[[Scene], str]] = {
    "expired-ids": expired_ids,
    "certificate": changed_certificate,
    "full-disk": full_disk,
}
ALERTS = {
    "idle partition": "StreamgaugeSeriesSilent",
    "expired-ids": _NO_DATA,
    "certificate": "StreamgaugeDown",
    "full-disk": _NO_DATA,
}
"""The alert that tells of each event."""


def port_of(member: Member) -> int:
    """The HTTP port in the configuration of a member."""
    (line,) = [one for one in member.config.read_text().splitlines() if one.startswith("port = ")]
    return int(line.removeprefix("port = "))


def _replace(place: Path, certificate: Path, key: Path) -> None:
    """Put both files in place; each is replaced in one step."""
    for source, name in ((key, "key.pem"), (certificate, "certificate.pem")):
        scratch = place / f"{name}.new"
        scratch.write_bytes(source.read_bytes())
        scratch.replace(place / name)


def _has_ids(scene: Scene) -> bool:
    """Whether the broker knows a transactional id of the group: each begins with the name of the group."""
    with KafkaAdminClient(bootstrap_servers=scene.cluster.bootstrap) as admin:
        return scene.group in str(admin.list_transactions())
