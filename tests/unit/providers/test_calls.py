"""Waiting between attempts, and what a refusal tells."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.core.errors import ProviderMalformed, ProviderRejected, ProviderUnavailable
from tenantry.providers.calls import Call, Retry, broken_off, json_object, refusal


@given(st.integers(1, 10), st.floats(0, 1e6))
def test_a_wait_is_bounded_and_grows_within_its_chance(attempt: int, asked: float) -> None:
    retry = Retry(base_s=0.25, most_s=4.0)
    wait = retry.wait_s(attempt, asked)
    planned = 0.25 * 2 ** (attempt - 1)
    assert max(asked, min(4.0, planned / 2)) <= wait <= max(asked, min(4.0, planned))


def test_waits_differ_by_chance() -> None:
    assert len({Retry().wait_s(1) for _ in range(50)}) > 10


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 529, 599])
def test_what_may_pass_is_unavailable(status: int) -> None:
    error = refusal(status, b"")
    assert isinstance(error, ProviderUnavailable)
    assert error.retryable
    assert str(status) in error.message


@pytest.mark.parametrize("status", [201, 204, 301, 400, 401, 403, 404, 409, 413, 422])
def test_what_will_not_pass_is_rejected(status: int) -> None:
    error = refusal(status, b"")
    assert isinstance(error, ProviderRejected)
    assert not error.retryable
    assert ("credential" in error.message) == (status in {401, 403})


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"error": {"code": "insufficient_quota"}}', "insufficient_quota"),
        (b'{"error": {"type": "overloaded_error"}}', "overloaded_error"),
        (b'{"error": {"status": "RESOURCE_EXHAUSTED"}}', "resource_exhausted"),
        (b'{"error": {"code": null, "type": "server_error"}}', "server_error"),
    ],
)
def test_codes_that_are_known_are_told(body: bytes, code: str) -> None:
    assert code in refusal(500, body).message


@pytest.mark.req("SEC-2")
@given(st.text(min_size=4, max_size=40).filter(lambda t: t.strip() == t and not t.isdigit()))
def test_codes_that_are_not_known_are_not(secret: str) -> None:
    hidden = f"sk-{secret}"
    error = {"message": hidden, "code": hidden, "type": hidden, "status": hidden}
    body = orjson.dumps({"error": error})
    assert hidden not in refusal(400, body).message
    assert hidden not in broken_off(error).message


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"error": "text"}', b'{"error": {"code": {"a": 1}}}', b"\xff"]
)
def test_no_body_breaks_a_refusal(body: bytes) -> None:
    assert refusal(500, body).message == "The model provider cannot answer just now (HTTP 500)."


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"7", b'"text"', b"\xff{}"])
def test_what_is_no_object_is_malformed(data: bytes) -> None:
    with pytest.raises(ProviderMalformed):
        json_object(data)


def test_a_call_shows_no_prompt_in_its_repr() -> None:
    assert "secret" not in repr(Call("/x", b'{"messages": "secret"}'))
