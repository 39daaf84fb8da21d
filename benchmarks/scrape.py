"""Duration of a scrape, and its cost for the loop: 10,000 series, all of them exported.

    python -m benchmarks.scrape

The loop polls, scores and observes like that of the daemon, without Kafka. Another process scrapes about ten
times per second through the HTTP server of the daemon, with gzip, as Prometheus does. Rounds with and
without scrapes alternate on one engine.
"""

from __future__ import annotations

import gzip
import multiprocessing
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from multiprocessing.connection import Connection

import numpy as np
import torch

from benchmarks.artifacts import CHANNELS, INTERVAL_NS, WINDOW, conv_artifact
from benchmarks.measurement import Measurement
from connectors.records import Batch, Readings
from detector.engine.engine import Engine
from detector.engine.loop import Turn
from detector.http.messages import Request, Response
from detector.http.server import HttpServer, listen
from detector.http.site import Site
from detector.metrics.recorder import Metrics
from detector.metrics.sources import NoSources

NUM_SERIES = 10_000
POLL_ROWS = 1_000
WARMING_ROWS = 20_000
PAUSE_SECONDS = 0.1


def measure(quick: bool) -> list[Measurement]:
    """Measure the milliseconds of a scrape, and the p99 of a turn with scrapes over the one without."""
    torch.set_num_threads(1)
    num_turns, num_rounds = (3, 1) if quick else (100, 3)
    loop = _Loop()
    turns: dict[bool, list[float]] = {False: [], True: []}
    scrapes: list[float] = []
    with closing(loop.server):
        for number in range(2 * num_rounds):
            is_scraped = number % 2 == 1
            with _scraping(loop.server.address) if is_scraped else _nothing() as seconds:
                turns[is_scraped] += [loop.turn() for _ in range(num_turns)]
            scrapes += seconds
        alone, num_bytes = _alone(loop.server.address, num_rounds)
    calm, scraped = (float(np.quantile(turns[kind], 0.99)) for kind in (False, True))
    detail = {
        "samples_bytes": num_bytes,
        "scrape_ms_beside_the_loop": round(1e3 * float(np.median(scrapes)), 1),
    }
    p99 = {"turn_p99_ms": round(1e3 * calm, 1), "turn_p99_ms_scraped": round(1e3 * scraped, 1)}
    medians = {
        f"turn_median_ms{name}": round(1e3 * float(np.median(turns[kind])), 1)
        for kind, name in ((False, ""), (True, "_scraped"))
    }
    return [
        Measurement("scrape of 10,000 series", 1e3 * alone, "ms", ceiling=150.0, detail=detail),
        Measurement(
            "p99 of a turn, scraped / not", scraped / calm, "x", ceiling=2.0, detail={**p99, **medians}
        ),
    ]


class _Loop:
    """Drive an engine whose windows are full, and its metrics; a poll has a tenth of the series."""

    def __init__(self) -> None:
        self._engine = Engine(conv_artifact())
        self._names = tuple(f"series-{number:05d}" for number in range(NUM_SERIES))
        self._values = np.random.default_rng(7).normal(size=(WARMING_ROWS, len(CHANNELS)))
        self._next = 0
        self._metrics = Metrics(self._engine, NUM_SERIES, "benchmark", NoSources())
        for _ in range((WINDOW + 2) * NUM_SERIES // WARMING_ROWS):
            self._engine.step(self._poll(WARMING_ROWS))

        def scrape(request: Request) -> Response:
            body, content_type = self._metrics.exposition(request.accept)
            return Response(200, content_type, body)

        self.server = HttpServer(listen("127.0.0.1", 0), Site.of({"/metrics": scrape}))

    def turn(self) -> float:
        """Return the seconds from the poll until its metrics are recorded."""
        batch = Batch(self._poll())
        start = time.perf_counter()
        result = self._engine.step(batch.readings)
        self._metrics.observe(Turn(batch, result, 0.0, time.perf_counter() - start, 0.0, 0.0))
        return time.perf_counter() - start

    def _poll(self, num_rows: int = POLL_ROWS) -> Readings:
        number = np.arange(self._next, self._next + num_rows)
        self._next += num_rows
        return Readings(
            self._names,
            (number % NUM_SERIES).astype(np.int32),
            (number // NUM_SERIES) * INTERVAL_NS,
            self._values[:num_rows],
            np.zeros(num_rows, np.int32),
            number,
        )


def _alone(address: str, num_rounds: int) -> tuple[float, int]:
    """Return the median seconds of a scrape while the loop is idle, and the bytes of its text."""
    seconds, num_bytes = zip(*(_scrape(address) for _ in range(5 * num_rounds)), strict=True)
    return float(np.median(seconds)), num_bytes[-1]


def _scrape(address: str) -> tuple[float, int]:
    request = urllib.request.Request(
        f"{address}/metrics",
        headers={"Accept-Encoding": "gzip", "Accept": "application/openmetrics-text; version=1.0.0"},
    )
    start = time.perf_counter()
    with urllib.request.urlopen(request) as answer:
        body = answer.read()
    spent = time.perf_counter() - start
    text = gzip.decompress(body)
    assert text.count(b"streamgauge_score{") == NUM_SERIES
    return spent, len(text)


@contextmanager
def _scraping(address: str) -> Iterator[list[float]]:
    """Scrape from another process while the context lasts; its seconds per scrape are there at the end."""
    seconds: list[float] = []
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_scrape_until_asked, args=(address, theirs))
    process.start()
    ours.recv()  # wait for its first scrape
    try:
        yield seconds
    finally:
        ours.send(None)
        seconds += ours.recv()
        process.join()


def _scrape_until_asked(address: str, control: Connection) -> None:
    seconds = [_scrape(address)[0]]
    control.send(None)
    while not control.poll(PAUSE_SECONDS):
        seconds.append(_scrape(address)[0])
    control.send(seconds)


@contextmanager
def _nothing() -> Iterator[list[float]]:
    yield []


if __name__ == "__main__":
    for one in measure("--quick" in sys.argv):
        print(f"{one.name}: {one.value:.3g} {one.unit} ({one.bound}: {one.kept}) {one.detail}")
