"""Proposes how Avro messages are read: their records, whose schemas a registry has."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any

from connectors.formats.avro.reader import number_of, record_in
from connectors.formats.avro.registry import SchemaRegistry
from connectors.formats.contract import RefusedError
from trainer.errors import TrainerError
from trainer.setup.proposal import Beside, Keys, keys_for, keys_for_object


class AvroProposal:
    """Proposes keys of [input] for Avro, and for every other form as without a registry."""

    def __init__(self, registry: SchemaRegistry, values: Iterable[bytes | None]) -> None:
        """Fetch the schemas of some messages. Raises TrainerError: the registry does not answer."""
        numbers = {number for value in values if (number := number_of(value)) is not None}
        registry.fetch(numbers)
        if not all(map(registry.is_settled, numbers)):
            raise TrainerError(f"the schema registry does not answer: {registry.status.problem}")
        self._registry = registry

    def keys_for(self, value: bytes, beside: Beside) -> Keys | None:
        """Return the keys with which a message is read; None if no format fits. Raises UnclearError."""
        record = self.record(value)
        if not isinstance(record, dict):
            return keys_for(value, beside)
        found = keys_for_object(record, beside)
        if found is None:
            return None
        kind = "long_avro" if found.pop("format", None) == "long_json" else "avro"
        return {"format": kind, **found}

    def record(self, value: bytes) -> Any:
        """Return the record of a message as JSON would have it; None of a message that is no Avro."""
        if number_of(value) is None:
            return None
        try:
            return _as_json(record_in(value, self._registry))
        except RefusedError:
            return None


def _as_json(found: Any) -> Any:
    if isinstance(found, dict):
        return {name: _as_json(inner) for name, inner in found.items()}
    if isinstance(found, list):
        return [_as_json(inner) for inner in found]
    if isinstance(found, datetime):
        return found.isoformat()
    if isinstance(found, Decimal):
        return float(found)
    return found if isinstance(found, str | int | float | None) else str(found)
