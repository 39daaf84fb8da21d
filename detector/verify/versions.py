"""The versions of one model that a daemon runs: each is loaded once, with the rules of its entry."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from connectors.errors import ConnectorError
from connectors.objects.names import above, below, is_remote, local_path, without_secrets
from connectors.objects.objects import Objects
from detector.artifact.description.manifest import MANIFEST
from detector.artifact.description.place import fetched
from detector.artifact.registry import open_named
from detector.artifact.spec import Artifact, Spec
from detector.calibration.p_values import PValues
from detector.config.engine_options import engine_options
from detector.config.load import Config
from detector.config.models.budget import with_budget
from detector.config.models.entries import config_of
from detector.config.models.section import ModelSection, ModelsSection
from detector.delivery.messages import MessageEncoder, Topics
from detector.engine.engine import EngineOptions
from detector.errors import ArtifactError
from detector.incidents.shapes.sentence import Wording
from detector.journal import Event
from detector.lifecycle.versions import registered_at
from detector.verify.receipt import VersionUsed
from detector.verify.rows import Row


@dataclass(frozen=True, slots=True)
class Model:
    """A version of a model, ready to judge.

    settle_rows  after so many rows of a series, nothing depends on rows before them, except for what adds up
    """

    artifact: Artifact
    options: EngineOptions
    encoder: MessageEncoder

    @property
    def channels(self) -> tuple[str, ...]:
        """The channels of the model."""
        return self.artifact.spec.channel_names

    @property
    def settle_rows(self) -> int:
        """The window and all that a series needs beside it."""
        return _settling(self.artifact.spec)


class Versions:
    """The versions of the model of [model], or of one of [[models]]. Not thread-safe."""

    def __init__(self, config: Config, entry: ModelSection) -> None:
        """Load the version that is in use now.

        Args:
            config: the whole configuration.
            entry: the section of the model in it.

        Raises:
            ArtifactError: It cannot be loaded.
        """
        self._config, self.entry = config, entry
        self.current = self._load(entry.path)
        self.of = cache(self._of)

    @property
    def name(self) -> str:
        """The name of the model in messages."""
        return self.current.artifact.spec.name

    def used(self, rows: Sequence[Row]) -> Iterator[VersionUsed]:
        """Yield the versions that judged some of these rows, in the order of their first rows."""
        firsts: dict[str, int] = {}
        counts: dict[str, int] = {}
        for row in rows:
            if row.model == self.name:
                firsts[row.version] = min(row.time_ms, firsts.get(row.version, row.time_ms))
                counts[row.version] = counts.get(row.version, 0) + 1
        place = without_secrets(self._place)
        for version in sorted(firsts, key=lambda one: firsts[one]):
            described, in_use = self._hash(version), self._in_use(version)
            yield VersionUsed(self.name, place, version, counts[version], described, in_use)

    @cached_property
    def _place(self) -> str:
        """The entry of the registry, also where the configuration names one version of it."""
        path = self.entry.path
        if not is_remote(path):
            path = local_path(path)
            return str(Path(path).parent) if Path(path, MANIFEST).exists() else path
        return path if Objects(path).read(MANIFEST) is None else above(path)

    def _of(self, version: str) -> Model | None:
        """Return a version, None if the registry has it no more."""
        try:
            return self._load(below(self._place, version))
        except (ArtifactError, ConnectorError):
            return None

    def _load(self, location: str) -> Model:
        config, entry = self._config, self.entry
        name = entry.name if isinstance(entry, ModelsSection) else None
        artifact = with_budget(open_named(location, name), entry)
        spec = artifact.spec
        own = config_of(config, entry, spec.channel_names) if isinstance(entry, ModelsSection) else config
        encoder = MessageEncoder(
            Topics.of(config.output.prefix),
            spec.name,
            artifact.version,
            spec.channel_names,
            config.output.scores,
            config.output.detail,
            PValues.of(artifact),
            () if spec.modes is None else spec.modes.names,
            Wording.of(spec, config.units),
        )
        return Model(artifact, engine_options(own, spec.channel_names), encoder)

    def _hash(self, version: str) -> str:
        """Return the SHA-256 of the description of a version, empty if the registry has it no more."""
        location = below(self._place, version)
        if not is_remote(location):
            path = Path(location, MANIFEST)
            return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else ""
        try:
            with tempfile.TemporaryDirectory(prefix="streamgauge-verify-") as scratch:
                fetched(location, Path(scratch), (MANIFEST,))
                return hashlib.sha256(Path(scratch, MANIFEST).read_bytes()).hexdigest()
        except ArtifactError:
            return ""

    @cached_property
    def _events(self) -> tuple[Event, ...]:
        try:
            return registered_at(self._place).journal.events
        except ArtifactError:
            return ()

    def _in_use(self, version: str) -> str:
        moves = [
            one
            for one in self._events
            if one.version == version and one.action in ("promoted", "rolled back")
        ]
        return "; ".join(f"{one.action} {one.at} by {one.who or 'unknown'}" for one in moves)


def _settling(spec: Spec) -> int:
    held = max(member.stride for member in spec.members) - 1
    slow = max(spec.hold_ns, default=0) // spec.interval_ns
    return spec.window + spec.scoring.delay + held + slow
