"""The command `streamgauge`, and the library's names in one place: `import streamgauge as sg`.

Nothing heavy is imported here: `streamgauge --help` loads no torch, pandas or pyarrow. Each verb stands in
one file, its flags beside its handler, and has one entry in `VERBS`. Exit codes are the same for every verb:

    0    done
    1    the outside world failed (a broker that cannot be reached, a full disk); `check` found what stops a
         training; `verify` found a row that differs
    2    wrong usage, input or configuration; the message says where and what to do
    3    anomalies were found (`backtest --fail-on-incident`)
    4    the gate refused a version (`models promote`)
    130  interrupted from the keyboard

The library's names are imported when they are first used.

    >>> import numpy as np, pandas as pd, streamgauge as sg
    >>> minutes = pd.date_range("2026-01-01", periods=2000, freq="min", tz="UTC", name="timestamp")
    >>> frame = pd.DataFrame({"flow": np.sin(np.arange(2000) / 8)}, index=minutes)
    >>> detector = sg.Detector(sg.fit(frame, model="linear", window=16))
    >>> detector
    Detector(model, version unsaved, linear, channels flow)
    >>> detector.score(frame).columns.to_list()
    ['series', 'score', 'p_value', 'state', 'expected_flow', 'contribution_flow']
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from connectors import ConnectorError, MemorySink, MemorySource, ParquetSource
    from detector import (
        Detector,
        DetectorError,
        Engine,
        EngineOptions,
        Incident,
        IncidentRules,
        State,
        Verdicts,
        backtest,
        open_artifact,
    )
    from trainer import TrainConfig, TrainerError, evaluate, fit

__version__ = "0.1.0"

__all__ = ["__version__", "console", "main"]
__all__ += ["Detector", "Engine", "EngineOptions", "IncidentRules", "TrainConfig", "backtest"]
__all__ += ["MemorySink", "MemorySource", "evaluate", "fit"]
__all__ += ["Incident", "ParquetSource", "State", "Verdicts", "open_artifact"]
__all__ += ["ConnectorError", "DetectorError", "TrainerError"]

_ELSEWHERE = {
    "ConnectorError": "connectors",
    "MemorySink": "connectors",
    "MemorySource": "connectors",
    "ParquetSource": "connectors",
    "TrainConfig": "trainer",
    "TrainerError": "trainer",
    "evaluate": "trainer",
    "fit": "trainer",
}
_HOME = {name: _ELSEWHERE.get(name, "detector") for name in __all__[3:]}  # the module that offers each name

DONE, FAILED, MISUSED, INTERRUPTED, BROKEN_PIPE = 0, 1, 2, 130, 141
TRAIN = "train"
DEBUG_VARIABLE = "STREAMGAUGE_DEBUG"
ERROR_TREES = (
    "connectors.errors:ConnectorError",
    "detector.errors:DetectorError",
    "trainer.errors:TrainerError",
)
OUTSIDE = (
    "connectors.errors:FilesError",
    "connectors.errors:KafkaError",
    "connectors.errors:MqttError",
    "connectors.errors:ObjectsError",
    "connectors.errors:StateError",
    "detector.errors:ClusterError",
    "detector.explore.storage.storage:OwnershipLostError",
    "trainer.errors:ProcessError",
)
NEEDS_TORCH = "this needs PyTorch, which is not installed here; install it: pip install 'streamgauge[train]'"
DESCRIPTION = """\
Streaming anomaly detection for time series. Learn what is normal from Parquet files,
score what arrives through Kafka, alert through Prometheus."""
FOOTER = f"""\
first steps:
  streamgauge demo                                    see all of it work, in three minutes
  streamgauge init history.csv                        look at your own data, write configurations
  streamgauge train history/ --out models/pump        learn from your own history
  streamgauge backtest models/pump history/may.parquet
  streamgauge config init streamgauge.toml            then edit it, and
  streamgauge run streamgauge.toml

`streamgauge VERB --help` has the flags and examples of a verb.
exit codes: 0 done, 1 failed, 2 wrong usage or input, 3 anomalies found (backtest
--fail-on-incident), 4 refused by the gate (models promote). {DEBUG_VARIABLE}=1 adds the
traceback to an error."""


@dataclass(frozen=True, slots=True)
class Verb:
    """A verb of the command line.

    Its module has two functions: `NAME_arguments(parser)` adds flags and examples, `NAME(args)` does the work
    and returns the exit code. The module is imported only for this verb and must import nothing heavy.
    """

    name: str
    summary: str
    module: str


VERBS = (
    Verb("demo", "simulate a plant with faults and watch them being found", "trainer.demo.command"),
    Verb(TRAIN, "train a model on Parquet files, calibrate its threshold, publish it", "trainer.commands"),
    Verb(
        "retrain",
        "train again on newer history; a candidate if it is better",
        "trainer.lifecycle.retrain_command",
    ),
    Verb("init", "look at data or a topic and write configurations", "trainer.setup.command"),
    Verb("check", "report what in Parquet files would make a bad model", "trainer.commands"),
    Verb("run", "run the daemon: score a stream, alert, serve metrics", "detector.commands.run"),
    Verb("backtest", "replay Parquet files through the daemon's engine", "detector.commands.backtest"),
    Verb("explore", "look at a running group or a backtest in a browser", "detector.commands.explore"),
    Verb("archive", "keep what a running group publishes, for explorers", "detector.commands.archive"),
    Verb("verify", "prove that what was backtested is what runs", "detector.commands.models.verify"),
    Verb("evaluate", "train and score a model on each labelled file of a directory", "trainer.commands"),
    Verb("record", "copy Kafka topics to Parquet files", "detector.commands.transfer.flags"),
    Verb(
        "replay", "send Parquet files to a Kafka topic at a chosen speed", "detector.commands.transfer.flags"
    ),
    Verb("encode", "compress Parquet files: one code per window", "detector.commands.autoencoder"),
    Verb("reconstruct", "denoise Parquet files and fill their gaps", "detector.commands.autoencoder"),
    Verb("sample", "generate windows like those of the history (vae)", "detector.commands.autoencoder"),
    Verb(
        "calibrate",
        "set another alarm budget, without training",
        "detector.commands.models.model",
    ),
    Verb("feedback", "say whether an incident was real; calibrate uses it", "detector.commands.models.model"),
    Verb("accept", "accept the level of an incident as normal from now on", "detector.commands.decide"),
    Verb("reject", "say that an incident is a fault: never learn it", "detector.commands.decide"),
    Verb("mute", "open no incident of a series for some time", "detector.commands.decide"),
    Verb("models", "list, compare, promote and roll back versions of a model", "trainer.lifecycle.command"),
    Verb("inspect", "show what an artifact contains", "detector.commands.models.model"),
    Verb("config", "write or check the daemon's configuration", "detector.commands.config"),
)


def __getattr__(name: str) -> object:
    """Import a name of the library at its first use."""
    if name not in _HOME:
        raise AttributeError(f"module 'streamgauge' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    """List the library's names too, before their first use."""
    return sorted({*globals(), *_HOME})


def _build_parser(chosen: str | None) -> argparse.ArgumentParser:
    """Return the parser of the command line. Only the chosen verb is imported and gets its flags."""
    from detector.commands.arguments import Parser

    parser = Parser(
        prog="streamgauge",
        description=DESCRIPTION,
        epilog=FOOTER,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("-V", "--version", action="version", version=f"streamgauge {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs", required=True)
    for verb in VERBS:
        child = verbs.add_parser(
            verb.name,
            help=verb.summary,
            description=verb.summary[0].upper() + verb.summary[1:] + ".",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        if verb.name == chosen:
            module = importlib.import_module(verb.module)
            getattr(module, f"{verb.name}_arguments")(child)
            child.set_defaults(handler=getattr(module, verb.name))
    return parser


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    """Return the arguments. A wrong command line exits with 2 and names the nearest valid verb or flag."""
    from detector.commands.arguments import nearest

    parser = _build_parser(next((word for word in argv if not word.startswith("-")), None))
    names = [verb.name for verb in VERBS]
    if argv and not argv[0].startswith("-") and argv[0] not in names:
        known = nearest(argv[0], names) or f"; there are {', '.join(names)}"
        parser.error(f"unknown verb `{argv[0]}`{known}")
    return parser.parse_args(argv)


def _is_a(error: BaseException, *classes: str) -> bool:
    """Return whether the error is of one of these "module:class". A class not imported was not raised."""
    for path in classes:
        module, _, name = path.partition(":")
        if isinstance(error, getattr(sys.modules.get(module), name, ())):
            return True
    return False


def _exit_code(error: Exception) -> int | None:
    """Return the exit code of an error that a person can act on, or None for a bug of ours."""
    if isinstance(error, OSError) or _is_a(error, *OUTSIDE):
        return FAILED
    return MISUSED if _is_a(error, *ERROR_TREES) or _lacks_torch(error) else None


def _lacks_torch(error: BaseException) -> bool:
    """Return whether PyTorch is not installed, which training needs and the detector does not."""
    return isinstance(error, ModuleNotFoundError) and error.name == "torch"


def _abandon_stdout() -> int:
    """Discard further output, because its reader is gone (`| head`); end like a program killed by SIGPIPE."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return BROKEN_PIPE


def _refuse_several(verb: str) -> None:
    """Refuse several processes of torchrun: each would do the same work. Only a training shares it."""
    if verb != TRAIN and "WORLD_SIZE" in os.environ:
        from trainer.fitting.parallel.launch import refuse_several

        refuse_several(verb)


def _dispatch(argv: Sequence[str]) -> int:
    try:
        arguments = _parse(argv)
        _refuse_several(arguments.verb)
        handler: Callable[[argparse.Namespace], int] = arguments.handler
        return handler(arguments)
    finally:
        sys.stdout.flush()  # not at exit: a closed pipe must be noticed where it is handled


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code. Our errors become one line on standard error."""
    try:
        return _dispatch(sys.argv[1:] if argv is None else argv)
    except BrokenPipeError:
        return _abandon_stdout()
    except KeyboardInterrupt:
        print("streamgauge: interrupted", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        code = _exit_code(error)
        if code is None:
            raise
        if os.environ.get(DEBUG_VARIABLE):
            traceback.print_exc()
        reason = NEEDS_TORCH if _lacks_torch(error) else error
        print(f"streamgauge: error: {reason}", file=sys.stderr)
        return code


def console() -> NoReturn:
    """Run the command `streamgauge` and exit."""
    sys.exit(main())


if __name__ == "__main__":
    console()
