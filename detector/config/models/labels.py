"""Choose series by the parts of their names: the places of [input] series are labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

from connectors.formats.places import Path, joined


def label_names(places: Sequence[str | Path]) -> tuple[str, ...]:
    """Return the names of the parts of a series.

    >>> label_names(["$.site", "@.device.id", "header:line", "topic:2", "key"])
    ('site', 'device.id', 'line', 'topic:2', 'key')
    """
    texts = (one.text if isinstance(one, Path) else one for one in places)
    return tuple(one.removeprefix("$.").removeprefix("@.").removeprefix("header:") for one in texts)


def check_places(
    labels: Mapping[str, tuple[str, ...]],
    places: Sequence[str | Path],
    others: Sequence[Sequence[str | Path]],
) -> None:
    """Check that labels mean the same in the messages of all topics.

    Args:
        labels: of one model; without any, every place is right.
        places: where the parts of a series are, by [input].
        others: the same by each [[inputs]].

    Raises:
        ValueError: the parts have other names, or another order, in one of [[inputs]].
    """
    names = label_names(places)
    for found in map(label_names, others):
        if labels and found != names:
            raise ValueError(
                f"labels: an [[inputs]] has the series {', '.join(found)}, and [input] has {', '.join(names)}"
                "; give both the same parts, or choose by `series`"
            )


def patterns_of(labels: Mapping[str, tuple[str, ...]], places: Sequence[str | Path]) -> tuple[str, ...]:
    """Return patterns of `fnmatch` for the names of exactly the series with these labels.

    A name has a `/` between two parts and none within. A pattern has as many, so no `*` of it matches a `/`.

    Args:
        labels: label -> patterns; its value must match one of them. Other labels may have any value.
        places: where the parts of a series are in a message, in order.

    Raises:
        ValueError: a label is no part of the series.

    >>> patterns_of({"site": ("berlin",)}, ["$.site", "$.machine"])
    ('berlin/*',)
    """
    names = label_names(places)
    if unknown := [one for one in labels if one not in names]:
        raise ValueError(f"labels: `{unknown[0]}` is no part of [input] series, which has {', '.join(names)}")
    return tuple(joined(one) for one in product(*(labels.get(name, ("*",)) for name in names)))
