"""What an API answered, as a model may read it: bounded, and without the credential (CON-4).

Threat: an answer that fills the prompt, or a source that sends the credential back.
"""

import re
from collections.abc import Sequence
from http import HTTPStatus

import orjson

from tenantry.connectors.answers import fitting
from tenantry.connectors.openapi_schema import clean
from tenantry.core.errors import QueryFailed
from tenantry.core.events import Json
from tenantry.security.egress.messages import EgressResponse

_EXCERPT = 400
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
    if not response.body:
        return None, False
    if _JSON.fullmatch(kind):
        try:
            return fitting(orjson.loads(response.body), traces, most)
        except orjson.JSONDecodeError:
            return "The API called this JSON, and it is not.", False
    if _TEXT.match(kind):
        return fitting(response.body.decode("utf-8", "replace"), traces, most)
    return f"{len(response.body)} bytes that are neither JSON nor text.", False


def _failure(status: int, body: Json) -> str:
    try:
        phrase = f" {HTTPStatus(status).phrase}"
    except ValueError:
        phrase = ""
    said = body if isinstance(body, str) else orjson.dumps(body).decode()
    excerpt = clean(said, _EXCERPT) if body else ""
    return f"The API answered {status}{phrase}{f': {excerpt}' if excerpt else ''}."
