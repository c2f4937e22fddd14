"""Whatever an API answers is small, without the credential, and says what went wrong (CON-4)."""

import base64
import json
from typing import Any

import pytest

from tenantry.connectors.http_answer import answer_of
from tenantry.connectors.http_credentials import Authentication, Credentials
from tenantry.core.errors import QueryFailed
from tenantry.core.secret import Secret
from tenantry.security.egress.messages import EgressResponse

pytestmark = pytest.mark.req("CON-4")
TOKEN = "tok-3f9a/acme+secret=="
CREDENTIALS = Credentials(Authentication("bearer"), Secret(TOKEN))


def response(body: bytes, kind: str = "application/json", status: int = 200) -> EgressResponse:
    """An answer."""
    return EgressResponse(status, {"content-type": kind}, body, "https://api.test/")


def shown(body: bytes, kind: str = "application/json", most: int = 40_000) -> Any:
    """What a model sees of it."""
    return answer_of(response(body, kind), CREDENTIALS.traces(), most)


@pytest.mark.parametrize(
    ("body", "kind", "becomes"),
    [
        (b"{broken", "application/json", "The API called this JSON, and it is not."),
        (b"\xff\xfe\x00", "application/json", "The API called this JSON, and it is not."),
        (b"[" * 20_000, "application/json", "The API called this JSON, and it is not."),
        (b"", "application/json", None),
        (b"hello", "text/plain; charset=utf-8", "hello"),
        (b"caf\xe9 \x00", "text/plain", "caf\ufffd \ufffd"),
        (b"<a/>", "application/xml", "<a/>"),
        (b"\x89PNG" + bytes(96), "image/png", "100 bytes that are neither JSON nor text."),
        (b"x", "", "1 bytes that are neither JSON nor text."),
        (b'{"a": 1}', "application/problem+json", {"a": 1}),
        (b'{"a": [1.5, null, true]}', "application/json", {"a": [1.5, None, True]}),
    ],
)
def test_a_body_is_shown_as_what_it_is(body: bytes, kind: str, becomes: Any) -> None:
    answer = shown(body, kind)
    assert answer["body"] == becomes
    assert "truncated" not in answer


@pytest.mark.parametrize(
    "value",
    [
        [{"id": n, "text": "x" * 50} for n in range(5_000)],
        {f"k{n}": "y" * 100 for n in range(5_000)},
        {"k" * 100_000: 1},
        "z" * 500_000,
        [[["w" * 1_000] * 20] * 20],
    ],
)
@pytest.mark.parametrize("most", [2_000, 40_000])
def test_a_large_answer_is_cut_until_a_model_can_read_it(value: Any, most: int) -> None:
    answer = shown(json.dumps(value).encode(), most=most)
    assert answer["truncated"] is True
    assert len(json.dumps(answer["body"])) < 1.2 * most


def test_what_is_nested_too_deeply_ends_in_an_ellipsis() -> None:
    answer = shown(b"[" * 200 + b"]" * 200)
    assert json.dumps(answer["body"]).count("[") == 24
    assert "\\u2026" in json.dumps(answer["body"])


@pytest.mark.req("POOL-4")
@pytest.mark.parametrize("status", [200, 401, 500])
@pytest.mark.parametrize("kind", ["application/json", "text/plain"])
def test_the_credential_is_hidden_wherever_it_stands(status: int, kind: str) -> None:
    pair = base64.b64encode(TOKEN.encode()).decode()
    said = json.dumps({"you": [f"sent {TOKEN}"], TOKEN: 1, "pair": pair}).encode()
    try:
        told = json.dumps(answer_of(response(said, kind, status), CREDENTIALS.traces(), 40_000))
    except QueryFailed as error:
        told = error.message
    assert "[removed]" in told
    assert TOKEN not in told
    assert pair not in told


@pytest.mark.req("POOL-4")
def test_a_pair_of_user_and_password_is_hidden_as_it_was_sent() -> None:
    credentials = Credentials(Authentication("basic", user="reader"), Secret("p4ss/word"))
    pair = base64.b64encode(b"reader:p4ss/word").decode()
    said = f"{pair} p4ss/word p4ss%2Fword".encode()
    told = answer_of(response(said, "text/plain"), credentials.traces(), 40_000)
    assert told["body"] == "[removed] [removed] [removed]"


@pytest.mark.parametrize(
    ("status", "says"),
    [(400, "400 Bad Request: no such status"), (404, "404 Not Found"), (429, "429 Too Many"),
     (503, "503 Service Unavailable"), (599, "599: no such status")],
)  # fmt: skip
def test_an_error_says_what_the_api_said_on_one_short_line(status: int, says: str) -> None:
    said = b"no such status\x1b[31m\n" + b"x" * 5_000
    with pytest.raises(QueryFailed, match=says) as failed:
        answer_of(response(said, "text/plain", status), (), 40_000)
    assert len(failed.value.message) < 600
    assert failed.value.message.isprintable()
