"""The front door: what a person types, and which function of which package does it.

Nothing else lives here, and nothing heavy is imported: `streamgauge --help` answers without torch,
pandas or pyarrow. Exit codes, the same for every verb:

    0    done
    1    the outside world failed (a broker that cannot be reached, a full disk)
    2    wrong usage, input or configuration; the message says where and what to do
    3    anomalies were found (`backtest --fail-on-incident`)
    130  interrupted from the keyboard
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

__all__ = ["__version__", "console", "main"]
__version__ = "0.1.0"

DONE, FAILED, MISUSED, INTERRUPTED, BROKEN_PIPE = 0, 1, 2, 130, 141
DEBUG_VARIABLE = "STREAMGAUGE_DEBUG"
ERROR_TREES = (
    "connectors.errors:ConnectorError",
    "detector.errors:DetectorError",
    "trainer.errors:TrainerError",
)
MODELS = ("ensemble", "linear", "mlp", "deep", "conv", "lstm", "gru", "vae")
DESCRIPTION = """\
Streaming anomaly detection for time series: learn what is normal from Parquet,
judge what arrives through Kafka, alert through Prometheus."""
FOOTER = f"""\
first steps:
  streamgauge demo                                    see all of it work, in two minutes
  streamgauge train history/ --out models/pump        learn from your own history
  streamgauge backtest models/pump history/may.parquet
  streamgauge config init streamgauge.toml            then edit it, and
  streamgauge run streamgauge.toml

`streamgauge VERB --help` has the flags and examples of a verb.
exit codes: 0 done, 1 failed, 2 wrong usage or input, 3 anomalies found (backtest
--fail-on-incident). {DEBUG_VARIABLE}=1 adds the traceback to an error."""


class _Parser(argparse.ArgumentParser):
    """argparse in this project's words: one line, the nearest valid name, where to read more."""

    def error(self, message: str) -> NoReturn:
        self.exit(MISUSED, f"streamgauge: error: {message} (see `{self.prog} --help`)\n")

    def parse_known_args(self, args=None, namespace=None):  # type: ignore[no-untyped-def]
        """Refuse what is left over here, where the verb's own flags are known."""
        arguments, extra = super().parse_known_args(args, namespace)
        if extra:
            hint = _suggestion(extra[0].partition("=")[0], tuple(self._option_string_actions))
            self.error(f"unknown argument `{extra[0]}`{hint}")
        return arguments, extra


@dataclass(frozen=True, slots=True)
class _Verb:
    """One verb. `handler` is "module:function", imported only when the verb is used."""

    name: str
    summary: str
    examples: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    handler: str = ""


def _rows(text: str) -> int | None:
    """A number of rows, or None for "auto"."""
    if text != "auto" and not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number of rows nor auto")
    return None if text == "auto" else int(text)


def _demo_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--keep-running", action="store_true", help="stay up when done; print the addresses")
    parser.add_argument("--out", metavar="DIR", help="where to leave history, models and verdicts")
    parser.add_argument("--seed", type=int, default=7, metavar="N", help="seed of plant and training")
    parser.add_argument("--seconds", type=float, metavar="N", help="seconds to stream for")


def _train_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", metavar="DATA", help="a Parquet file, a directory or a Hive-partitioned one")
    parser.add_argument("--out", required=True, metavar="DIR", help="registry entry to publish to (DIR/NAME)")
    parser.add_argument("--config", metavar="FILE", help="training configuration in TOML; flags override it")
    parser.add_argument("--name", help="name of the model; default: the last part of --out")
    _model_arguments(parser)
    data = parser.add_argument_group("data")
    data.add_argument("--interval", metavar="TIME", help="sampling interval, as 60s; default: learnt")
    data.add_argument("--stride", type=int, metavar="N", help="rows between two training windows")
    _training_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print the outcome as JSON")


def _model_arguments(parser: argparse.ArgumentParser) -> None:
    model = parser.add_argument_group("model (defaults belong to each family)")
    model.add_argument("--model", choices=MODELS, help="model family; default: ensemble")
    model.add_argument("--window", type=_rows, metavar="N|auto", help="rows the model sees at once")
    model.add_argument("--latent", type=int, metavar="N", help="latent dimension")
    model.add_argument("--layers", type=int, metavar="N", help="number of layers")
    model.add_argument("--nodes", type=int, metavar="N", help="nodes per layer")
    model.add_argument("--patch", type=int, metavar="N", help="rows folded into one step (lstm, gru)")
    model.add_argument("--activation", metavar="NAME", help="activation function")
    model.add_argument("--loss", metavar="NAME", help="loss function")
    model.add_argument("--beta", type=float, metavar="X", help="weight of the KL divergence (vae)")
    model.add_argument("--backbone", choices=("dense", "conv"), help="encoder and decoder (vae)")


def _training_arguments(parser: argparse.ArgumentParser) -> None:
    training = parser.add_argument_group("training")
    training.add_argument("--alarm-budget", metavar="N/TIME", help="false alarms a series, as 1/week")
    training.add_argument("--delay", type=int, metavar="N", help="rows a final verdict may wait; default: 0")
    training.add_argument("--max-epochs", type=int, metavar="N", help="stop after so many at the latest")
    training.add_argument("--seed", type=int, metavar="N", help="same seed, same data: same model")
    training.add_argument("--device", choices=("auto", "cpu", "cuda"), help="default: auto")
    training.add_argument("--noise", type=float, metavar="X", help="denoise: noise on what is seen, scaled")
    training.add_argument("--mask", type=float, metavar="SHARE", help="denoise: cells hidden, below 1")
    training.add_argument("--trim", type=float, metavar="SHARE", help="worst windows left out, below 0.5")
    training.add_argument("--resume", action="store_true", help="go on from an interrupted run's checkpoint")


def _run_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", metavar="CONFIG", help="configuration in TOML; `config init` writes one")


def _backtest_arguments(parser: argparse.ArgumentParser) -> None:
    _artifact_arguments(parser)
    parser.add_argument("data", metavar="DATA", help="a Parquet file or directory")
    parser.add_argument("--out", metavar="DIR", help="write scores.parquet and the incidents there")
    parser.add_argument(
        "--config", metavar="FILE", help="the daemon's configuration: its incident rules and lateness"
    )
    parser.add_argument("--lateness", metavar="TIME", help="how long rows stay open, as 30s; default: 0s")
    parser.add_argument("--fail-on-incident", action="store_true", help="exit with 3 when there is one")


def _evaluate_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", metavar="DIR", help="labelled Parquet files (columns label and split)")
    parser.add_argument("--model", choices=MODELS, default="ensemble", help="model family; default: ensemble")
    parser.add_argument("--json", metavar="FILE", help="write the metrics there as JSON")
    parser.add_argument("--scores", metavar="OUT", help="write one Parquet of scores a file there")
    parser.add_argument("--train-rows", type=int, metavar="N", help="fit on the first N rows, not on `split`")
    parser.add_argument("--window", type=_rows, metavar="N|auto", help="rows the model sees at once")
    parser.add_argument("--alarm-budget", metavar="N/TIME", help="false alarms tolerated a series, as 1/week")
    parser.add_argument("--max-epochs", type=int, metavar="N", help="stop after so many at the latest")
    parser.add_argument("--seed", type=int, metavar="N", help="seed of the trainings")
    parser.add_argument("--jobs", type=int, metavar="N", help="files at a time; default: one a core")
    when = parser.add_mutually_exclusive_group()
    when.add_argument("--causal", action="store_true", default=True, help="as the stream judges (default)")
    when.add_argument("--offline", action="store_false", dest="causal", help="later windows may judge a row")


def _encode_arguments(parser: argparse.ArgumentParser) -> None:
    _pass_arguments(parser)
    parser.add_argument("--stride", type=int, metavar="N", help="rows between two windows; default: a window")


def _reconstruct_arguments(parser: argparse.ArgumentParser) -> None:
    _pass_arguments(parser)
    parser.add_argument("--only-gaps", action="store_true", help="keep what was observed, fill the rest")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="refinements of a gap; default: 3")


def _pass_arguments(parser: argparse.ArgumentParser) -> None:
    _artifact_arguments(parser)
    parser.add_argument("data", metavar="DATA", help="a Parquet file or directory")
    parser.add_argument("--out", required=True, metavar="FILE", help="the Parquet file to write")


def _sample_arguments(parser: argparse.ArgumentParser) -> None:
    _artifact_arguments(parser)
    parser.add_argument("--out", required=True, metavar="FILE", help="the Parquet file to write")
    parser.add_argument("--num", type=int, required=True, metavar="N", help="windows to make up")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="same seed: same windows")
    parser.add_argument("--start", default="2000-01-01", metavar="TIME", help="of all windows, in ISO 8601")


def _artifact_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("artifact", metavar="ARTIFACT", help="a registry entry or one version of it")
    parser.add_argument("--json", action="store_true", help="print the outcome as JSON")


def _calibrate_arguments(parser: argparse.ArgumentParser) -> None:
    _artifact_arguments(parser)
    parser.add_argument("--alarm-budget", metavar="N/TIME", help="false alarms a series; default: as before")
    parser.add_argument("--no-feedback", action="store_true", help="leave out what was said of incidents")


def _feedback_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("incident", metavar="INCIDENT", help="its id, or how the id begins")
    parser.add_argument("opinion", choices=("false-alarm", "real"), help="what it was")
    parser.add_argument("--artifact", required=True, metavar="DIR", help="the registry entry of its model")
    parser.add_argument(
        "--incidents",
        required=True,
        metavar="FILE",
        help="a backtest's incidents.json, or alerts as JSON lines",
    )
    parser.add_argument("--json", action="store_true", help="print the outcome as JSON")


def _config_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="check|test-notify|init", required=True)
    check = actions.add_parser("check", help="say what is wrong with a configuration, and where")
    check.add_argument("file", metavar="FILE")
    check.set_defaults(handler="detector.commands.run:config_check")
    tell = actions.add_parser("test-notify", help="send a test incident and its end to each [[notify]]")
    tell.add_argument("file", metavar="FILE")
    tell.add_argument("--only", metavar="NAME", help="this one alone")
    tell.add_argument("--hold", type=float, default=0.0, metavar="S", help="seconds between the two (0)")
    tell.set_defaults(handler="detector.commands.notify:test_notify")
    init = actions.add_parser("init", help="write a commented example")
    init.add_argument("file", metavar="FILE", nargs="?", help="default: standard output")
    init.set_defaults(handler="detector.commands.run:config_init")


def _record_arguments(parser: argparse.ArgumentParser) -> None:
    _topic_arguments(parser)
    parser.add_argument("--out", required=True, metavar="DIR", help="directory for the Parquet files")
    parser.add_argument("--channels", metavar="A,B", help="channels to keep; default: those seen first")
    parser.add_argument("--until-end", action="store_true", help="stop where the topic ended at the start")


def _replay_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", metavar="DATA", help="a Parquet file or directory")
    _topic_arguments(parser)
    parser.add_argument("--speed", default="1", metavar="X|max", help="times real time, or max; default: 1")


def _topic_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", metavar="FILE", help="the daemon's configuration: connection and topic")
    parser.add_argument("--bootstrap-servers", metavar="HOST:PORT", help="the Kafka cluster")
    parser.add_argument("--topic", metavar="TOPIC", help="topic of wide JSON messages")


VERBS = (
    _Verb(
        "demo",
        "watch a simulated plant break and be caught",
        "  streamgauge demo\n  streamgauge demo --keep-running --out plant/",
        _demo_arguments,
        "trainer.demo.demo:demo",
    ),
    _Verb(
        "train",
        "fit a model on Parquet, learn its threshold, publish it",
        "  streamgauge train history/ --out models/pump\n"
        "  streamgauge train history/ --out models/pump --model lstm --window 128 --alarm-budget 1/month\n"
        "  streamgauge train history/ --out models/pump --config train.toml --resume",
        _train_arguments,
        "trainer.commands:train",
    ),
    _Verb(
        "run",
        "the daemon: judge a Kafka topic, alert, serve metrics",
        "  streamgauge run streamgauge.toml",
        _run_arguments,
        "detector.commands.run:run",
    ),
    _Verb(
        "backtest",
        "replay Parquet through the very engine of the daemon",
        "  streamgauge backtest models/pump history/may.parquet\n"
        "  streamgauge backtest models/pump history/ --out report/ --fail-on-incident",
        _backtest_arguments,
        "detector.commands.run:backtest",
    ),
    _Verb(
        "evaluate",
        "fit and score every labelled file of a directory",
        "  streamgauge evaluate benchmark/ --model lstm --json out.json\n"
        "  streamgauge evaluate benchmark/ --train-rows 2000 --offline --scores scores/",
        _evaluate_arguments,
        "trainer.commands:evaluate",
    ),
    _Verb(
        "record",
        "a Kafka topic to Parquet history",
        "  streamgauge record --config streamgauge.toml --out history/\n"
        "  streamgauge record --bootstrap-servers localhost:9092 --topic readings --out history/ --until-end",
        _record_arguments,
        "detector.commands.transfer:record",
    ),
    _Verb(
        "replay",
        "Parquet history to a Kafka topic, at a chosen speed",
        "  streamgauge replay history/ --bootstrap-servers localhost:9092 --topic readings --speed 60",
        _replay_arguments,
        "detector.commands.transfer:replay",
    ),
    _Verb(
        "encode",
        "Parquet to codes, one a window: a compression",
        "  streamgauge encode models/pump history/ --out codes.parquet",
        _encode_arguments,
        "detector.commands.autoencoder:encode",
    ),
    _Verb(
        "reconstruct",
        "Parquet as the model sees it: denoised, gaps filled",
        "  streamgauge reconstruct models/pump history/ --out filled.parquet --only-gaps",
        _reconstruct_arguments,
        "detector.commands.autoencoder:reconstruct",
    ),
    _Verb(
        "sample",
        "make up windows like those of the history (--model vae)",
        "  streamgauge sample models/pump-vae --out samples.parquet --num 100 --seed 7 --start 2026-01-01",
        _sample_arguments,
        "detector.commands.autoencoder:sample",
    ),
    _Verb(
        "calibrate",
        "another alarm budget for a model, without training",
        "  streamgauge calibrate models/pump --alarm-budget 1/day\n"
        "  streamgauge calibrate models/pump          # use the feedback given since",
        _calibrate_arguments,
        "detector.commands.model:calibrate",
    ),
    _Verb(
        "feedback",
        "say whether an incident was real; calibrate uses it",
        "  streamgauge feedback 4be1 false-alarm --artifact models/pump --incidents report/incidents.json",
        _feedback_arguments,
        "detector.commands.model:feedback",
    ),
    _Verb(
        "inspect",
        "what is in an artifact",
        "  streamgauge inspect models/pump\n  streamgauge inspect models/pump --json",
        _artifact_arguments,
        "detector.commands.run:inspect",
    ),
    _Verb(
        "config",
        "write or check the daemon's configuration",
        "  streamgauge config init streamgauge.toml\n  streamgauge config check streamgauge.toml",
        _config_arguments,
    ),
)


def _build_parser() -> _Parser:
    parser = _Parser(
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
            epilog=f"examples:\n{verb.examples}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        child.set_defaults(handler=verb.handler)
        verb.add_arguments(child)
    return parser


def _suggestion(word: str, known: Sequence[str]) -> str:
    nearest = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean `{nearest[0]}`?" if nearest else ""


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments, or exit 2 with the nearest valid verb or flag."""
    parser = _build_parser()
    names = [verb.name for verb in VERBS]
    if argv and not argv[0].startswith("-") and argv[0] not in names:
        known = _suggestion(argv[0], names) or f"; there are {', '.join(names)}"
        parser.error(f"unknown verb `{argv[0]}`{known}")
    return parser.parse_args(argv)


def _is_a(error: BaseException, *classes: str) -> bool:
    """Whether the error is of one of these "module:class"; a class never imported was never raised."""
    for path in classes:
        module, _, name = path.partition(":")
        if isinstance(error, getattr(sys.modules.get(module), name, ())):
            return True
    return False


def _exit_code(error: Exception) -> int | None:
    """The exit code of an error that a person can act on; None for a bug of ours."""
    if isinstance(error, OSError) or _is_a(error, "connectors.errors:KafkaError"):
        return FAILED
    return MISUSED if _is_a(error, *ERROR_TREES) else None


def _abandon_stdout() -> int:
    """The reader of our output went away (`| head`): say nothing more, as a program killed by SIGPIPE."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return BROKEN_PIPE


def _dispatch(argv: Sequence[str]) -> int:
    try:
        arguments = _parse(argv)
        module, _, function = arguments.handler.partition(":")
        handler: Callable[[argparse.Namespace], int] = getattr(importlib.import_module(module), function)
        return handler(arguments)
    finally:
        sys.stdout.flush()  # here and not at exit, so that a closed pipe is noticed where it is handled


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; returns its exit code. Errors of ours become one line on standard error."""
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
        print(f"streamgauge: error: {error}", file=sys.stderr)
        return code


def console() -> NoReturn:
    """The `streamgauge` command."""
    sys.exit(main())


if __name__ == "__main__":
    console()
