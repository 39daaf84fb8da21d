"""One broker behind a proxy for all tests of a process that kill members."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.cluster import Cluster
from tests.support.kafka_broker import need_java


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    need_java()
    made = Cluster(tmp_path_factory.mktemp("broker"))
    yield made
    made.close()
