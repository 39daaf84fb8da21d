"""Docstrings, help and pages use short sentences, the verbs of the field, and no private words."""

from __future__ import annotations

import ast
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.test_architecture import SOURCES, relative, tree

ROOT = Path(__file__).parent.parent
MOST_WORDS = 25
PRIVATE = re.compile(
    r"\b(anew|whoever|whosoever|but for|of which|is born|unsay|unsaid|aforesaid|nought|hearsay)\b"
    r"|\b(is|are|was|were|be|been|has|have|had) (told|said|heard)\b"
    r"|\b(says|tells|hears|heard|told) (of|it|them|so|whether|what|the)\b",
    re.IGNORECASE,
)
"""Words of a private language; the field emits, publishes, notifies, scores, assigns, restores, replays."""
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
SENTENCE_END = re.compile(r"(?<=[.!?;:])\s+(?=[A-Z`(\[])")


def docstrings(path: Path) -> Iterator[tuple[int, str]]:
    """Line and text of every docstring of a module."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield node.body[0].lineno, text


def comments(path: Path) -> Iterator[tuple[int, str]]:
    with path.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.string


def paragraphs(text: str) -> Iterator[str]:
    """Prose without code, tables, headings and lists of figures."""
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    text = re.sub(r"^ {4}.*$", "", text, flags=re.MULTILINE)
    for block in re.split(r"\n\s*\n|\n(?=[-*] |\d+\. )", text):
        if not block.lstrip().startswith(("|", "#", "!", "<", ">>>")) and "  " not in block.strip():
            yield re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", " ".join(block.split()))


def long_sentences(text: str) -> list[str]:
    sentences = (one for block in paragraphs(text) for one in SENTENCE_END.split(block))
    return [sentence for sentence in sentences if len(sentence.split()) > MOST_WORDS]


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_docstrings_and_comments_use_the_words_of_the_field(path: Path) -> None:
    texts = [*docstrings(path), *comments(path)]
    found = {f"{line}: {match.group()}" for line, text in texts if (match := PRIVATE.search(text))}
    assert found == set()


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_sentences_of_docstrings_are_short(path: Path) -> None:
    assert [(line, one) for line, text in docstrings(path) for one in long_sentences(text)] == []


@pytest.mark.parametrize("path", PAGES, ids=relative)
def test_sentences_of_pages_are_short_and_use_the_words_of_the_field(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert long_sentences(text) == []
    assert [match.group() for match in PRIVATE.finditer(text)] == []
