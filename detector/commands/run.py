"""`streamgauge run`: the daemon."""

from __future__ import annotations

import argparse
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from connectors.objects.names import is_remote, local_path, without_secrets
from detector.commands.arguments import add_examples
from detector.errors import ConfigError

if TYPE_CHECKING:
    from detector.config.load import Config

DONE = 0
_STDIN, _MQTT = "-", "mqtt://"
_LEAST_SECONDS = 60.0


def run_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `streamgauge run`."""
    add_examples(
        parser,
        "streamgauge run streamgauge.toml",
        "mosquitto_sub -t plant/readings | streamgauge run models/pump --source -",
        "streamgauge run models/pump --source 'data/*.jsonl' --follow --state state --output out",
        "streamgauge run models/pump --source mqtt://localhost/plant/+/readings --state state",
        "streamgauge run streamgauge.toml --retrain-every 7d --history history/",
    )
    parser.add_argument(
        "config",
        metavar="CONFIG",
        help="configuration in TOML, `config init` writes an example; with --source also a model",
    )
    parser.add_argument(
        "--source",
        metavar="SOURCE",
        help="read no Kafka: - for lines of standard input, a file, a pattern, or mqtt://HOST:PORT/TOPIC",
    )
    parser.add_argument(
        "--follow", action="store_true", help="of files: wait for lines that are appended, and for new files"
    )
    parser.add_argument(
        "--state", metavar="DIR", help="directory of the saved state, from which a restart goes on"
    )
    parser.add_argument(
        "--output", metavar="DIR", help="write files into this directory; default: lines on standard output"
    )
    parser.add_argument(
        "--retrain-every",
        metavar="TIME",
        help="run `retrain` in a process of low priority after this time, such as 7d; needs --history",
    )
    parser.add_argument(
        "--history", metavar="DIR", help="what `streamgauge record` writes, for --retrain-every"
    )


def run(args: argparse.Namespace) -> int:
    """Run the daemon until SIGTERM or Ctrl-C stops it, or its input ends. Returns the exit code."""
    from detector.config.load import load_config

    path, variables = _place(args)
    environ = {**os.environ, **variables}
    config = load_config(path, environ)  # before the heavy imports: a wrong file is reported at once
    with _retraining(args, config, path):
        from detector.service.daemon import serve

        serve(config, lambda: load_config(path, environ))
    return DONE


def _place(args: argparse.Namespace) -> tuple[Path | None, Mapping[str, str]]:
    """Return the configuration file, None without one, and the variables for what flags say.

    Raises ConfigError: a flag needs another one.
    """
    if args.source is None:
        given = [name for name in ("follow", "state", "output") if getattr(args, name)]
        if given:
            raise ConfigError(f"--{given[0]} needs --source; in a file, write [source] and [output]")
        return Path(args.config), {}
    variables = source_variables(args.source)
    if args.follow:
        variables["SOURCE__FOLLOW"] = "true"
    if args.state:
        variables["SOURCE__STATE"] = args.state
    if args.output not in {None, _STDIN}:
        variables |= {"OUTPUT__TO": "files", "OUTPUT__DIRECTORY": args.output}
    is_file = args.config.endswith(".toml") or Path(args.config).is_file()
    if not is_file:
        variables["MODEL__PATH"] = args.config
    named = {f"STREAMGAUGE_{name}": value for name, value in variables.items()}
    return (Path(args.config) if is_file else None), named


def source_variables(source: str) -> dict[str, str]:
    """Return the variables, without their prefix, that a source on the command line stands for.

    >>> source_variables("mqtt://broker:1884/plant/+/readings")["SOURCE__TOPICS"]
    'plant/+/readings'

    Raises ConfigError: an address without host or topic.
    """
    if source == _STDIN:
        return {"SOURCE__KIND": "stdin"}
    if not source.startswith((_MQTT, "mqtts://")):
        return {"SOURCE__KIND": "files", "SOURCE__PATH": source}
    scheme, _, rest = source.partition("://")
    server, _, topic = rest.partition("/")
    try:
        address = urlsplit(f"{scheme}://{server}")
        host, port = address.hostname, address.port
    except ValueError:
        host, port = None, None
    if not host or not topic or address.password is not None:
        raise ConfigError(
            f"--source {scheme}://...: expected mqtt://HOST:PORT/TOPIC; the password is"
            " STREAMGAUGE_MQTT__PASSWORD"
        )
    found = {"SOURCE__KIND": "mqtt", "SOURCE__TOPICS": topic, "MQTT__HOST": host}
    if port is not None:
        found["MQTT__PORT"] = str(port)
    if address.username:
        found["MQTT__USERNAME"] = unquote(address.username)
    return found | ({"MQTT__TLS": "true"} if scheme == "mqtts" else {})


@contextmanager
def _retraining(args: argparse.Namespace, config: Config, path: Path | None) -> Iterator[None]:
    """Retrain now and then while the context lasts, if the flags ask for it. Raises ConfigError."""
    from detector.service.candidates.retraining import Retraining, retrain_command

    if args.retrain_every is None and args.history is None:
        yield
        return
    if args.retrain_every is None or args.history is None:
        raise ConfigError("--retrain-every and --history need each other")
    if path is None:
        raise ConfigError("--retrain-every needs a configuration file instead of a model")
    every, places = _seconds(args.retrain_every), _entries(path, config)
    turn, history = threading.Lock(), Path(args.history)
    with ExitStack() as running:
        for place in places:
            command = retrain_command(history, place, path)
            retraining = Retraining(place, every, command, turn=turn)
            running.callback(retraining.close)
            retraining.start()
        yield


def _seconds(text: str) -> float:
    """Return the time of --retrain-every. Raises ConfigError."""
    from detector.config.load import parse_duration

    try:
        every = parse_duration(text)
    except ValueError as error:
        raise ConfigError(f"--retrain-every: {error}") from error
    if every < _LEAST_SECONDS:
        raise ConfigError("--retrain-every: at least 1m, such as 7d")
    return every


def _entries(path: Path, config: Config) -> tuple[str, ...]:
    """Return the entries of the models that can be retrained beside the daemon. Raises ConfigError."""
    from detector.config.models.entries import places_of

    places = places_of(config)
    if not places:
        raise ConfigError(f"{path}: [fallback]: --retrain-every needs a model; add [[models]]")
    if config.source.kind != "kafka":
        raise ConfigError(
            "--retrain-every needs readings from Kafka; run `streamgauge retrain` from cron instead"
        )
    if find_spec("torch") is None:
        raise ConfigError("--retrain-every trains, which needs PyTorch: pip install 'streamgauge[train]'")
    for place in places:
        _check_entry(place)
    return places


def _check_entry(place: str) -> None:
    """Raise ConfigError if a model is no entry, or if its URI has secrets, which a command line shows."""
    from connectors.objects.objects import Objects
    from detector.artifact.description.manifest import MANIFEST

    shown = without_secrets(place)
    if shown != place:
        raise ConfigError(
            f"--retrain-every: path {shown}: give its credentials in the environment, and not in the URI"
        )
    is_version = (
        Objects(place).read(MANIFEST) is not None
        if is_remote(place)
        else Path(local_path(place), MANIFEST).exists()
    )
    if is_version:
        raise ConfigError(f"--retrain-every: path {shown} is one version; name its registry entry")
