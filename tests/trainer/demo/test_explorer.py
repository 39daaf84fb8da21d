"""The demo's explorer: it serves while the context lasts, and what is missing never stops the demo."""

from __future__ import annotations

import argparse
import importlib.util
import io
import sys
import webbrowser
from contextlib import ExitStack, nullcontext
from pathlib import Path

import pytest
import urllib3
from rich.console import Console

from connectors.kafka.connection import Connection
from detector.artifact.registry import publish
from detector.config.load import load_config
from tests.support.kafka_broker import free_ports
from tests.support.sines import linear_artifact
from trainer.demo import daemons
from trainer.demo import demo as demo_module
from trainer.demo.daemons import Daemon, Detectors
from trainer.demo.demo import _explored, _listening
from trainer.demo.explorer import explorer, has_browser, reserved

HTTP = urllib3.PoolManager(retries=False)


def config_in(root: Path) -> Path:
    """The configuration of a group whose broker does not run."""
    publish(linear_artifact(), root / "models" / "pump")
    path = root / "linear.toml"
    path.write_text(
        f'[model]\npath = "{root}/models/pump"\n[kafka]\ntopic = "readings"\n'
        f'bootstrap_servers = ["127.0.0.1:{free_ports(1)[0]}"]\n'
    )
    return path


def explored(config: Path) -> tuple[str | None, str]:
    """The address that the demo gets, and what it prints."""
    console = Console(file=io.StringIO(), width=200)
    with ExitStack() as stack:
        detectors = Detectors(config.parent, Connection(("127.0.0.1:9",)), stack, console)
        listening = _listening(detectors, stack, console)
        address = _explored(Daemon("linear", "", config, config), listening, stack, console)
    assert isinstance(console.file, io.StringIO)
    return address, console.file.getvalue()


def test_it_serves_while_the_context_lasts(tmp_path: Path) -> None:
    listening, reserved_address = reserved()
    with explorer(config_in(tmp_path), listening) as address:
        assert address == reserved_address
        about = HTTP.request("GET", f"{address}api/v1/source").json()
        assert (about["kind"], about["rows"]) == ("live", 0)
    with pytest.raises(urllib3.exceptions.HTTPError):
        HTTP.request("GET", f"{address}api/v1/source")


@pytest.mark.parametrize("is_installed", [True, False])
def test_the_pages_of_the_detectors_link_to_it_where_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_installed: bool
) -> None:
    """The configuration of a detector, as the daemon reads it. Its process is not started here."""
    monkeypatch.setattr(daemons, "started", lambda command, log: nullcontext())
    if not is_installed:
        monkeypatch.setattr(demo_module, "missing_packages", lambda: ["duckdb"])
    console = Console(file=io.StringIO())
    with ExitStack() as stack:
        detectors = Detectors(tmp_path, Connection(("127.0.0.1:9",)), stack, console)
        listening = _listening(detectors, stack, console)
        link = load_config(detectors.start("linear").config).http.explorer
        if listening is None:
            assert not is_installed
            assert link is None
        else:
            assert link == f"http://127.0.0.1:{listening.getsockname()[1]}/"


def test_missing_packages_and_a_missing_model_are_stated_and_the_demo_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_in(tmp_path)
    config.write_text(config.read_text().replace("models/pump", "models/none"))
    address, printed = explored(config)
    assert address is None
    assert "no explorer: " in printed
    assert "models/none" in printed
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "duckdb" else find(name))
    address, printed = explored(config)
    assert address is None
    assert "no explorer: duckdb is not installed; run: pip install 'streamgauge[explore]'" in printed


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="displays of Linux")
def test_a_browser_needs_a_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webbrowser, "get", object)
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    assert not has_browser()
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    assert has_browser()

    def none() -> object:
        raise webbrowser.Error

    monkeypatch.setattr(webbrowser, "get", none)
    assert not has_browser()


@pytest.mark.parametrize(
    ("terminal", "flag", "opened"), [(True, False, True), (True, True, False), (False, False, False)]
)
def test_the_page_is_opened_for_somebody_at_a_terminal_alone(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, flag: bool, opened: bool
) -> None:
    seen: list[str] = []
    monkeypatch.setattr(demo_module, "has_browser", lambda: True)
    monkeypatch.setattr(demo_module, "open_browser", seen.append)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal, raising=False)
    console = Console(file=io.StringIO(), width=200)
    demo_module._show("http://127.0.0.1:1/", argparse.Namespace(no_browser=flag), console)
    assert seen == (["http://127.0.0.1:1/"] if opened else [])
    assert isinstance(console.file, io.StringIO)
    assert "explorer: http://127.0.0.1:1/" in console.file.getvalue()
