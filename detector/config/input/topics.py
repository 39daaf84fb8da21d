"""Several topics in one configuration: what fits together, and which form each topic has."""

from __future__ import annotations

from collections.abc import Sequence

from connectors.kafka.admin.topic_names import is_pattern, reads
from detector.config.input.kafka import KafkaSection
from detector.config.input.section import InputSection, InputsSection
from detector.errors import ConfigError

INPUTS_EXAMPLE = """#[[inputs]]  # the form of the messages of some topics, with the keys of [input]
#topics = ["plant-*"]
#format = "line_protocol\""""

_OUTPUTS = ("scores", "alerts", "dead-letters", "state", "decisions")


def own_topics(prefix: str) -> frozenset[str]:
    """Return the topics of a daemon with this output prefix, which it never takes as input."""
    return frozenset(f"{prefix}.{name}" for name in _OUTPUTS)


def check_topics(
    kafka: KafkaSection,
    kind: str,
    prefix: str,
    inputs: Sequence[Sequence[str]],
    models: Sequence[tuple[str, Sequence[str]]],
) -> None:
    """Raise ValueError where keys about topics do not fit together.

    Args:
        kafka: the section [kafka].
        kind: of [source].
        prefix: of the outputs.
        inputs: topics of each table [[inputs]].
        models: path and topics of each table [[models]].
    """
    if own := sorted({kafka.topic, *kafka.topics} & own_topics(prefix)):
        raise ValueError(
            f"[kafka] {'topics' if kafka.topics else 'topic'}: this process writes {own[0]};"
            " remove it, or change prefix in [output]"
        )
    if inputs and not kafka.topics:
        raise ValueError(
            "[[inputs]] is for several topics; set topics in [kafka], or describe the form in [input]"
        )
    given = [("[[inputs]]", one) for topics in inputs for one in topics]
    given += [(f"[[models]] {path}", one) for path, topics in models for one in topics]
    if given and kind != "kafka":
        raise ValueError(f'{given[0][0]} topics: needs [source] kind = "kafka", not {kind}; remove this key')
    read = kafka.topics or (kafka.topic,)
    for where, one in given:
        if not is_pattern(one) and not reads(read, one):
            raise ValueError(
                f"{where} topics: {one} is not read; add it to topics in [kafka], or remove it here"
            )


def input_of(topic: str, section: InputSection, inputs: Sequence[InputsSection]) -> InputSection:
    """Return the form of the messages of a topic."""
    return next((one for one in inputs if reads(one.topics, topic)), section)


def one_topic(kafka: KafkaSection, what: str, remedy: str) -> str:
    """Return the topic of [kafka], which must be one for what is to be done. Raises ConfigError."""
    if kafka.topics:
        raise ConfigError(f"[kafka] topics: {what} works with one topic; {remedy}")
    return kafka.topic
