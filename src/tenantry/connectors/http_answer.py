"""What an API answered, as a model may read it: bounded, and without the credential (CON-4).

Threat: an answer that fills the prompt, or a source that sends the credential back.
"""

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus

import orjson

from tenantry.connectors.openapi_schema import clean
from tenantry.core.errors import QueryFailed
from tenantry.core.events import Json
from tenantry.core.storable import storable
from tenantry.security.egress.messages import EgressResponse

MOST_BYTES = 2 * 1024 * 1024
"""Of a body that is read at all, decompressed."""
_MOST_DEPTH = 24
_SHORTEST_TRACE = 4  # hiding every "a" would hide the answer
_HIDDEN = "[removed]"
_EXCERPT = 400
# Items of a list and characters of a text, ever fewer until the answer is small enough.
_DETAIL = (
    (100_000, 1_000_000), (1_000, 20_000), (200, 4_000), (50, 1_000), (20, 300), (5, 100), (2, 40)
)  # fmt: skip
_JSON = re.compile(r"(?:application|text)/(?:[a-z0-9.+-]+\+)?json(?:;.*)?", re.IGNORECASE)
_TEXT = re.compile(r"text/[a-z0-9.+-]+|application/(?:[a-z0-9.+-]+\+)?(?:xml|yaml)", re.IGNORECASE)


def answer_of(response: EgressResponse, traces: Sequence[str], most_bytes: int) -> dict[str, Json]:
    """The answer: `status`, `type`, `body`, and `truncated` if something was left out.

    Args:
        response: as it came.
        traces: forms of the secret, which are hidden wherever they stand.
        most_bytes: of the answer as JSON.

    Raises:
        QueryFailed: the API says that it went wrong; with what it says, cleaned.
    """
    kind = clean(response.headers.get("content-type", ""), 100)
    body, is_cut = _body(response, kind, traces, most_bytes)
    if response.status >= 400:
        raise QueryFailed(_failure(response.status, body))
    answer: dict[str, Json] = {"status": response.status, "type": kind, "body": body}
    return {**answer, "truncated": True} if is_cut else answer


def _body(
    response: EgressResponse, kind: str, traces: Sequence[str], most: int
) -> tuple[Json, bool]:
    hidden = [trace for trace in traces if len(trace) >= _SHORTEST_TRACE]
    if not response.body:
        return None, False
    if _JSON.fullmatch(kind):
        try:
            return _fitting(orjson.loads(response.body), hidden, most)
        except orjson.JSONDecodeError:
            return "The API called this JSON, and it is not.", False
    if _TEXT.match(kind):
        return _fitting(response.body.decode("utf-8", "replace"), hidden, most)
    return f"{len(response.body)} bytes that are neither JSON nor text.", False


def _fitting(value: Json, hidden: Sequence[str], most: int) -> tuple[Json, bool]:
    """The value in ever less detail until it fits."""
    for items, chars in _DETAIL:
        shown = _shown(value, hidden, (items, chars), _MOST_DEPTH)
        if len(orjson.dumps(shown)) <= most:
            return shown, shown != _shown(value, hidden, _DETAIL[0], 1_000)
    return "The answer is too large to show; ask for less of it.", True


def _shown(value: Json, hidden: Sequence[str], detail: tuple[int, int], depth: int) -> Json:
    items, chars = detail
    if isinstance(value, str):
        text = _without(value, hidden)
        return text if len(text) <= chars else f"{text[:chars]}…"
    if not isinstance(value, Mapping | list):
        return value
    if depth == 0:
        return "…"
    if isinstance(value, list):
        return [_shown(each, hidden, detail, depth - 1) for each in value[:items]]
    return {
        _without(key, hidden)[:chars]: _shown(each, hidden, detail, depth - 1)
        for key, each in list(value.items())[:items]
    }


def _without(text: str, hidden: Sequence[str]) -> str:
    for trace in hidden:
        text = text.replace(trace, _HIDDEN)
    return storable(text)


def _failure(status: int, body: Json) -> str:
    try:
        phrase = f" {HTTPStatus(status).phrase}"
    except ValueError:
        phrase = ""
    said = body if isinstance(body, str) else orjson.dumps(body).decode()
    excerpt = clean(said, _EXCERPT) if body else ""
    return f"The API answered {status}{phrase}{f': {excerpt}' if excerpt else ''}."
