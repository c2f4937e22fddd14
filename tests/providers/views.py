"""The ways a text can be read, and the attack language that is looked for in each of them.

An attacker's model decodes whatever it is shown. The language, planted in documents, rows, file
names and tool results:

    @@call tool {"json": "arguments"}    call a tool
    @@say words to the end of the line   put these words into the answer
    @@repeat 7                           do the next command that often
"""

import base64
import binascii
import codecs
import html
import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import unquote

from tests.providers.replies import CallOf

MOST_REPEATS = 1000
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{16,}={0,2}")
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2}[ :]?){12,}")
_MADE_VISIBLE = re.compile(r"\\u\{([0-9A-Fa-f]{1,6})\}|\\u([0-9A-Fa-f]{4})")
_SPACED = re.compile(r"(?<=\S) (?=\S(?: |$))")
_COMMAND = re.compile(r"@@(call|say|repeat)[ \t]+")
_NAME = re.compile(r"\S+")


@dataclass(frozen=True)
class Command:
    """One thing to do."""

    verb: Literal["call", "say"]
    call: CallOf = field(default_factory=lambda: CallOf(""))
    words: str = ""


def commands_in(texts: Iterable[str]) -> list[Command]:
    """Every command in any view of the texts, each once, in the order it is found."""
    found: dict[tuple[str, str, str, int], Command] = {}
    for text in texts:
        for view in views_of(text):
            for position, command in enumerate(_commands(view)):
                key = (command.call.name, command.call.arguments, command.words, position)
                found.setdefault(key, command)
    return list(found.values())


def views_of(text: str) -> list[str]:
    """The text as it is, and everything it may be hiding, decoded twice over."""
    views: dict[str, None] = {text: None}
    for _ in range(2):
        for view in list(views):
            for decode in _DECODERS:
                views.update(dict.fromkeys(decode(view)))
    return list(views)


def _commands(text: str) -> Iterator[Command]:
    repeats = 1
    for match in _COMMAND.finditer(text):
        rest = text[match.end() :]
        if match[1] == "repeat":
            count = re.match(r"\d{1,9}", rest)
            repeats = min(int(count[0]), MOST_REPEATS) if count else 1
            continue
        command = _call(rest) if match[1] == "call" else _say(rest)
        if command is not None:
            for _ in range(repeats):
                yield command
        repeats = 1


def _call(rest: str) -> Command | None:
    name = _NAME.match(rest)
    if name is None:
        return None
    arguments = rest[name.end() :].lstrip()
    if arguments.lstrip("{ ").startswith("\\"):
        return None  # escaped: the view in which it is not will be read as well
    try:
        _, end = json.JSONDecoder().raw_decode(arguments)
    except ValueError:
        end = len(arguments.splitlines()[0]) if arguments else 0
    return Command("call", CallOf(name[0], arguments[:end] or "{}"))


def _say(rest: str) -> Command:
    return Command("say", words=re.split(r"[\r\n]|@@", rest, maxsplit=1)[0].strip())


def _reversed(text: str) -> Iterator[str]:
    if "@@" in text[::-1]:
        yield text[::-1]


def _from_base64(text: str) -> Iterator[str]:
    for match in _BASE64.finditer(text):
        padded = match[0].rstrip("=").replace("-", "+").replace("_", "/")
        padded += "=" * (-len(padded) % 4)
        try:
            yield base64.b64decode(padded, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            continue


def _from_hex(text: str) -> Iterator[str]:
    for match in _HEX.finditer(text):
        try:
            yield bytes.fromhex(re.sub(r"[ :]", "", match[0])).decode()
        except (ValueError, UnicodeDecodeError):
            continue


def _from_percent(text: str) -> Iterator[str]:
    if "%" in text:
        yield unquote(text)


def _from_entities(text: str) -> Iterator[str]:
    if "&" in text:
        yield html.unescape(text)


def _from_rot13(text: str) -> Iterator[str]:
    if "@@pnyy" in text or "@@fnl" in text or "@@ercrng" in text:
        yield codecs.decode(text, "rot13")


def _without_spaces(text: str) -> Iterator[str]:
    if "@ @" in text:
        yield _SPACED.sub("", text)


def _from_json(text: str) -> Iterator[str]:
    """A text inside the one line of JSON that data is shown as."""
    if '\\"' in text or "\\n" in text:
        yield text.replace("\\n", "\n").replace('\\"', '"').replace("\\\\", "\\")


def _made_plain(text: str) -> Iterator[str]:
    """Invisible characters removed, tag characters read, escapes that name characters undone."""
    named = _MADE_VISIBLE.sub(lambda m: _character(m[1] or m[2]), text)
    tags = "".join(chr(ord(c) - 0xE0000) if 0xE0020 <= ord(c) <= 0xE007E else c for c in named)
    plain = "".join(c for c in tags if unicodedata.category(c) not in {"Cf", "Mn"})
    plain = unicodedata.normalize("NFKC", plain)
    if plain != text:
        yield plain


def _character(code: str) -> str:
    number = int(code, 16)
    return chr(number) if number < 0x110000 and not 0xD800 <= number < 0xE000 else ""


_DECODERS: tuple[Callable[[str], Iterator[str]], ...] = (
    _made_plain,
    _from_json,
    _from_base64,
    _from_hex,
    _from_percent,
    _from_entities,
    _from_rot13,
    _reversed,
    _without_spaces,
)
