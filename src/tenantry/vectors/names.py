"""Codes and names in a text: what people look for letter by letter, and mistype.

A code has a digit and a letter, an underscore, or four digits and more; a name begins with a
capital where no sentence begins, or is written in capitals. What stems and vectors do to them is of
no help: `KX-GR-014` has neither a stem nor a meaning.
"""

import re

from tenantry.vectors.language import is_common

_WORD = re.compile(r"[^\W_][\w./-]*[^\W_]|[^\W_]")
_SENTENCE_END = re.compile(r"[.!?…:]\s*[\"'”»)\]]*\s*$|^\s*$|\n\s*[#>*-]*\s*$")
_SEPARATORS = re.compile(r"[\W_]+")
_LONGEST = 2000
_MOST_ASKED = 8
_SHORTEST = 3


def names_of(text: str) -> str:
    """The codes and names of a passage, each once, as they are compared; at most 2,000 letters."""
    found = dict.fromkeys(_plain(word) for word in _names(text))
    return " ".join(name for name in found if len(name) >= _SHORTEST)[:_LONGEST]


def asked_names(question: str) -> list[str]:
    """The codes and names of a question; a word at its beginning counts if it is capitalised."""
    first = _WORD.match(question.strip())
    words = list(_names(question))
    if first and first.group()[0].isupper() and not is_common(first.group().lower()):
        words.insert(0, first.group())
    found = dict.fromkeys(_plain(word) for word in words)
    return [name for name in found if len(name) > _SHORTEST][:_MOST_ASKED]


def _names(text: str) -> list[str]:
    found = []
    for match in _WORD.finditer(text):
        word = match.group()
        letters = sum(map(str.isalpha, word))
        digits = sum(map(str.isdigit, word))
        is_code = (digits and letters) or digits >= 4 or "_" in word
        is_name = word[0].isupper() and (
            (len(word) > 1 and word.isupper())
            or not _SENTENCE_END.search(text[max(0, match.start() - 12) : match.start()])
        )
        if (is_code or is_name) and not is_common(word.lower()):
            found.append(word)
    return found


def _plain(word: str) -> str:
    return _SEPARATORS.sub("", word).lower()
