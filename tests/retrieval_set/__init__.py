"""Questions over documents, each with the words of the passage that answers it.

The documents are the demo's handbooks of both tenants, which contradict each other, and a pump's
manual, a runbook, a German and a French handbook written for this set. Questions are of the kinds
that people ask: in other words than the document's, by a code, by a name, with a slip in it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, the title of the document that answers it, and words of the passage."""

    text: str
    title: str
    answer: str


def questions() -> list[Asked]:
    """Every question of the set."""
    lines = (HERE / "questions.tsv").read_text(encoding="utf-8").splitlines()
    return [Asked(*line.split("\t")) for line in lines]


def documents() -> dict[str, bytes]:
    """Every document of the set, by a name of its own."""
    found = {path.name: path.read_bytes() for path in sorted((HERE / "documents").iterdir())}
    for tenant in ("skyline-air", "chord-store"):
        folder = resources.files("tenantry.demo").joinpath("handbooks", tenant)
        for file in sorted(folder.iterdir(), key=lambda f: f.name):
            found[f"{tenant}/{file.name}"] = file.read_bytes()
    return found


def ndcg_at_10(texts: Sequence[str], answer: str, answers: int) -> float:
    """Normalised discounted cumulative gain of a ranking (Järvelin and Kekäläinen, 2002).

    Args:
        texts: the passages found, best first.
        answer: words of the right ones.
        answers: how many passages hold these words.
    """
    gain = sum(1 / math.log2(n + 2) for n, text in enumerate(texts[:10]) if answer in text)
    ideal = sum(1 / math.log2(n + 2) for n in range(min(answers, 10)))
    return gain / ideal
