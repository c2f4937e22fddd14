"""Which language a text is in, as far as PostgreSQL can stem it.

Told by function words (`function_words.txt`): the most frequent words of a language make a third of
any prose in it, and few of them are another's. A text that holds too few of any is stemmed by no
language (`simple`).
"""

import re
from collections import Counter
from collections.abc import Mapping
from importlib import resources

SIMPLE = "simple"
_ASKING = "asking"  # words that ask, in several languages: common, but no sign of one
_WORD = re.compile(r"[^\W\d_]+")
_LOOKED_AT = 20_000  # letters
_LEAST_SHARE = 0.08


def _read() -> Mapping[str, frozenset[str]]:
    file = resources.files("tenantry.vectors").joinpath("function_words.txt")
    lines = file.read_text(encoding="utf-8").splitlines()
    named = (line.split(":", 1) for line in lines if not line.startswith("#"))
    return {name: frozenset(words.split()) for name, words in named}


_LISTED = _read()
_COMMON = frozenset[str]().union(*_LISTED.values())


def is_common(word: str) -> bool:
    """Whether a word, in lower case, only holds a sentence together, or asks."""
    return word in _COMMON


def language_of(text: str) -> str:
    """A text search configuration of PostgreSQL: that of the text's language, else `simple`."""
    words = Counter(word.lower() for word in _WORD.findall(text[:_LOOKED_AT]))
    total = words.total()
    if not total:
        return SIMPLE
    shares = {
        language: sum(words[word] for word in known) / total
        for language, known in _LISTED.items()
        if language != _ASKING
    }
    best = max(shares, key=lambda language: (shares[language], language == "english"))
    return best if shares[best] >= _LEAST_SHARE else SIMPLE
