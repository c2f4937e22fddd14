"""Cuts a passage into sentences that can be quoted word for word.

A line that stands for itself (a list item, a table's row, `key: value`) is a sentence; other lines
are joined, for documents are wrapped. Only white space changes.
"""

import re

MOST_SENTENCE_CHARS = 600
_LEAST_SENTENCE_CHARS = 8
_OWN_LINE = re.compile(r"\s*(?:[-*+•|>#]|\d{1,3}[.)]\s|```)")
_RULE = re.compile(r"[\s|:=\-_*#`>+]*")
_ENDS = re.compile(r"(?<=[.!?…])[\"'”’)\]]*\s+(?=[\"'“‘(\[]?[^\W_a-z])|(?<=[。！？])")  # noqa: RUF001
# A full stop after these, or after a single letter, ends no sentence.
_ABBREVIATED = re.compile(
    r"(?:^|[\s(])(?:[A-Za-z]|[A-Z]\.[A-Z]|e\.g|i\.e|z\.B|approx|bzw|ca|cf|ch|dr|etc|fig|inc|"
    r"jr|ltd|mr|mrs|ms|no|nr|p|pp|prof|resp|sec|sr|st|usw|vgl|vs)\.$",
    re.IGNORECASE,
)


def sentences_of(passage: str) -> list[str]:
    """The sentences of `passage` in order, white space made single; headings are left out."""
    found: list[str] = []
    for block in _blocks(passage):
        found += _split(block)
    return [text for text in found if _LEAST_SENTENCE_CHARS <= len(text) <= MOST_SENTENCE_CHARS]


def _blocks(passage: str) -> list[str]:
    """Paragraphs joined to one line each; lines that stand for themselves as they are."""
    blocks: list[str] = []
    joined: list[str] = []
    for line in (*passage.splitlines(), ""):
        alone = _OWN_LINE.match(line) is not None
        if alone or not line.strip():
            blocks.append(" ".join(joined))
            joined = []
        if line.lstrip().startswith("#") or _RULE.fullmatch(line):
            continue
        joined.append(" ".join(line.split()))
        if line.lstrip().startswith("|"):
            blocks.append(joined.pop())
    return [block for block in blocks if block]


def _split(block: str) -> list[str]:
    found: list[str] = []
    start = 0
    for end in _ENDS.finditer(block):
        if _ABBREVIATED.search(block[start : end.start()]):
            continue
        found.append(block[start : end.end()].strip())
        start = end.end()
    found.append(block[start:].strip())
    return found
