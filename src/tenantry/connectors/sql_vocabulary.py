"""What model-written SQL may consist of, read from the files in `allowed/`.

An allow-list, never a block-list: what nobody thought of is refused. The files name sqlglot's
classes, and sqlglot is pinned exactly, because another grammar is another security decision.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from types import MappingProxyType
from typing import Literal

Dialect = Literal["duckdb", "postgres", "mysql"]
DIALECTS: tuple[Dialect, ...] = ("duckdb", "postgres", "mysql")


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The words of one dialect that a query may be made of.

    Attributes:
        nodes: classes of the syntax tree, by name, those of the functions included.
        types: targets of a cast, by sqlglot's name.
        words: words that may stand before a parenthesis without being a function.
        functions: names of functions that may be called, in lower case.
        unparsed: those of them that sqlglot has no class for.
        never: bare words that are functions in disguise, in lower case.
        callable: whatever may stand before a parenthesis, in lower case.
    """

    nodes: frozenset[str]
    types: frozenset[str]
    words: frozenset[str]
    functions: frozenset[str]
    unparsed: frozenset[str]
    never: frozenset[str]
    callable: frozenset[str]


def _lines(file: str) -> list[str]:
    text = resources.files(__package__).joinpath("allowed", file).read_text(encoding="utf-8")
    return [line for line in map(str.strip, text.splitlines()) if line and line[0] != "#"]


def _sections(file: str) -> Mapping[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    members: set[str] = set()
    for line in _lines(file):
        if line.startswith("["):
            members = found.setdefault(line.strip("[]"), set())
        else:
            members.update(line.split())
    return {name: frozenset(words) for name, words in found.items()}


def _vocabulary(dialect: Dialect) -> Vocabulary:
    syntax = _sections("syntax.txt")
    functions: dict[str, frozenset[str]] = {}
    never = set()
    for line in _lines(f"{dialect}.txt"):
        name, *classes = line.split()
        if name.startswith("!"):
            never.add(name[1:])
        else:
            functions[name] = frozenset(classes)
    classes_called = frozenset().union(*functions.values()) - {"Anonymous"}
    return Vocabulary(
        nodes=syntax["nodes"] | classes_called,
        types=syntax["types"],
        words=syntax["words"],
        functions=frozenset(functions),
        unparsed=frozenset(n for n, classes in functions.items() if "Anonymous" in classes),
        never=frozenset(never),
        callable=frozenset(functions) | syntax["words"],
    )


VOCABULARIES: Mapping[Dialect, Vocabulary] = MappingProxyType(
    {dialect: _vocabulary(dialect) for dialect in DIALECTS}
)
"""The vocabulary of each dialect; read once, from the package's own files."""
