"""The golden set: questions with gold SQL over Chinook and TPC-H, scored by execution match.

An answer is right when its rows are those of the gold SQL, whatever the SQL looks like: in any
order, with columns in any order, and with more columns than were asked for. Numbers are compared
to six digits, because a sum of floats depends on the order of its rows.
Source: execution accuracy as in Spider (arXiv 1809.08887) and BIRD (arXiv 2305.03111).
"""

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tenantry.core.errors import StartupRefused
from tenantry.demo.datasets import MEDIA_TYPES, TableFile, table_files

SETS = ("chinook", "tpch")
_TPCH_SCALE = "0.01"
_QUESTION = re.compile(r"^-- question: (.+)$", re.MULTILINE)
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?")
_MIDNIGHT = re.compile(r"(\d{4}-\d{2}-\d{2})[T ]00:00:00(\.0+)?")

Rows = Sequence[Sequence[Any]]


@dataclass(frozen=True, slots=True)
class GoldenQuestion:
    """A question, and the DuckDB SQL whose rows answer it."""

    set: str
    number: int
    question: str
    sql: str


def golden_questions(name: str) -> tuple[GoldenQuestion, ...]:
    """The questions of one of `SETS`, in the order of its file."""
    folder = resources.files(__package__).joinpath("golden_questions")
    _, *parts = _QUESTION.split(folder.joinpath(f"{name}.sql").read_text("utf-8"))
    pairs = zip(parts[::2], parts[1::2], strict=True)
    return tuple(
        GoldenQuestion(name, number, question.strip(), sql.strip().removesuffix(";"))
        for number, (question, sql) in enumerate(pairs, 1)
    )


def golden_tables(name: str) -> Iterator[TableFile]:
    """The tables that a set's questions are about, ready to upload.

    Raises:
        StartupRefused: the package that has the data is not installed.
    """
    if name == "chinook":
        yield from table_files("chord-store")
        return
    with TemporaryDirectory(prefix="tenantry-golden-") as folder:
        _generate_tpch(folder)
        for path in sorted(Path(folder).glob("*.parquet")):
            media_type = MEDIA_TYPES["parquet"]
            yield TableFile(path.stem, path.name, media_type, "", path.read_bytes())


def _generate_tpch(folder: str) -> None:
    # The generator of the package `tpchgen-cli`, which stands beside this Python.
    command = Path(sys.executable).with_name("tpchgen-cli")
    arguments = ["parquet", "-s", _TPCH_SCALE, f"--output-dir={folder}"]
    try:
        subprocess.run([command, *arguments], check=True, capture_output=True)  # noqa: S603
    except FileNotFoundError as error:
        message = "TPC-H's data comes from its generator. Run: pip install tpchgen-cli"
        raise StartupRefused(message) from error


def same_answer(gold: Rows, found: Rows) -> bool:
    """Whether `found` has the rows of `gold`, with its columns among its own."""
    if len(gold) != len(found):
        return False
    if not gold:
        return True
    wanted = [[_comparable(value) for value in column] for column in zip(*gold, strict=True)]
    offered = [[_comparable(value) for value in column] for column in zip(*found, strict=True)]
    counts = [Counter(column) for column in offered]
    choices = [
        [at for at, count in enumerate(counts) if count == Counter(column)] for column in wanted
    ]
    rows = Counter(zip(*wanted, strict=True))
    return any(
        Counter(zip(*(offered[at] for at in chosen), strict=True)) == rows
        for chosen in _assignments(choices, ())
    )


def _assignments(
    choices: Sequence[Sequence[int]], taken: tuple[int, ...]
) -> Iterator[tuple[int, ...]]:
    """Every way to give each wanted column one of its own."""
    if len(taken) == len(choices):
        yield taken
        return
    for at in choices[len(taken)]:
        if at not in taken:
            yield from _assignments(choices, (*taken, at))


def _comparable(value: Any) -> Any:
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, date | datetime):
        value = value.isoformat()
    text = str(value).strip()
    if _NUMBER.fullmatch(text):  # decimals come as texts
        return float(f"{float(text):.6g}")
    if midnight := _MIDNIGHT.fullmatch(text):
        return midnight.group(1)
    return text
