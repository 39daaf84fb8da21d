"""The API keeps what its OpenAPI document promises: generated requests, valid and invalid.

Operations are those of the document, so a new endpoint is covered as soon as the document has it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.schemas import APIOperation, BaseSchema
from schemathesis.specs.openapi.checks import positive_data_acceptance

from detector.artifact.registry import publish
from detector.explore.source import source_of
from detector.explore.web.openapi import document
from detector.explore.web.serve import opened
from detector.offline.backtest_record import Inputs
from tests.detector.explore.explored import ADA, START_NS, incident, scores_of, serving, write_backtest
from tests.support.sines import linear_artifact

NUM = 200
EXAMPLES = 40
PATIENCE_SECONDS = 300.0  # a bound on hanging, not an expectation
BEYOND = (b"is not later than `from`", b"must be at most of_rows")
OPERATIONS = [(path, method) for path, methods in document()["paths"].items() for method in methods]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    out = Path(tmp_path_factory.mktemp("contract")) / "out"
    names = np.repeat(np.array(["a", "b/c", "d"], dtype=object), NUM)
    times = np.tile(START_NS + np.arange(NUM) * 60_000_000_000, 3)
    incidents = [incident("aa11", "a", "2026-01-01T01:40:00Z", "2026-01-01T02:10:00Z")]
    version = publish(linear_artifact(), out.parent / "models" / "pump").version
    inputs = asdict(Inputs(str(out.parent / "models" / "pump")))
    scores = scores_of(names, times, 3, 0.1)
    shown = opened(
        source_of(str(write_backtest(out, scores, incidents, version=version, inputs=inputs))), ADA
    )
    with serving(shown) as address:
        yield address


schemathesis.openapi.format(
    "date-time",
    st.integers(1, 8_800_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC).isoformat()),
)


@pytest.fixture(scope="module")
def described(site: str) -> BaseSchema:
    return schemathesis.openapi.from_url(f"{site}/api/v1/openapi.json")


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_generated_requests_get_what_the_document_promises(
    described: BaseSchema, path: str, method: str, mode: GenerationMode
) -> None:
    """Valid requests are accepted, invalid ones refused, and no answer leaves its schema or is a failure.

    Two rules are beyond OpenAPI. A range must not end before it begins, and for_rows is at most of_rows.
    """
    operation: APIOperation = described[path][method]
    if mode is GenerationMode.NEGATIVE and not (list(operation.iter_parameters()) or operation.body):
        return  # nothing of such a request can be wrong

    @seed(0)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def keep(case: schemathesis.Case) -> None:
        response = case.call(timeout=PATIENCE_SECONDS)
        in_order = not any(one in response.content for one in BEYOND)
        case.validate_response(response, excluded_checks=[] if in_order else [positive_data_acceptance])

    keep()
