"""A client's body becomes the provider's: what is read, what is changed, what is refused."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.core.errors import InvalidRequest, TooLarge
from tenantry.gateway.forms import CHAT, EMBEDDINGS, MESSAGES, RESPONSES, Form
from tenantry.gateway.request import Given, RawRequest
from tenantry.providers.base import UpstreamAccount
from tenantry.providers.routes import RawRoute

ACCOUNT = UpstreamAccount("acct")
ROUTE = RawRoute("acct/m", "acct", "upstream-1", {}, ACCOUNT, 1024)
OLD = RawRoute("acct/m", "acct", "upstream-1", {}, ACCOUNT, 1024, "max_tokens")
SAID = '"messages": [{"role": "user", "content": "hi"}]'
FORMS = (CHAT, MESSAGES, RESPONSES, EMBEDDINGS)


def prepared(form: Form, body: str | bytes, route: RawRoute = ROUTE) -> RawRequest:
    raw = body.encode() if isinstance(body, str) else body
    return form.prepare(Given(raw, orjson.loads(raw)), route)


@pytest.mark.req("USE-1")
@pytest.mark.parametrize(
    ("form", "body", "sent"),
    [
        (
            CHAT,
            '{ "x":1E2,"x": 1e2, "model" :"acct/m",' + SAID + ', "big":123456789012345678901 ,'
            '"max_tokens":7, "s":"\\u0041\\/"}',
            '{ "x":1E2,"x": 1e2, "model" :"upstream-1",' + SAID + ', "big":123456789012345678901 ,'
            '"max_completion_tokens":7, "s":"\\u0041\\/"}',
        ),
        (
            CHAT,
            '{"model":"acct/m","stream":true,"stream_options":{"a":1.0},' + SAID + "}",
            '{"model":"upstream-1","stream":true,"stream_options":{"a":1.0,"include_usage":true},'
            + SAID + ',"max_completion_tokens":1024}',
        ),
        (
            MESSAGES,
            '{"max_tokens": 5000, "model":"acct/m", ' + SAID + ', "top_k":  5}',
            '{"max_tokens": 1024, "model":"upstream-1", ' + SAID + ', "top_k":  5}',
        ),
        (
            RESPONSES,
            '{"input":"hi","model":"acct/m","max_output_tokens":16}',
            '{"input":"hi","model":"upstream-1","max_output_tokens":16,"store":false}',
        ),
        (
            EMBEDDINGS,
            '{"input":[[1,2]],"model":"acct/m","dimensions":8 }',
            '{"input":[[1,2]],"model":"upstream-1","dimensions":8 }',
        ),
    ],
)  # fmt: skip
def test_every_byte_goes_through_but_for_what_must_change(form: Form, body: str, sent: str) -> None:
    assert prepared(form, body).body == sent.encode()


@given(
    st.dictionaries(
        st.text(max_size=6).filter(lambda name: name.casefold() not in {"n", "text"}),
        st.integers() | st.text(max_size=5) | st.none(),
        max_size=5,
    ),
    st.booleans(),
    st.sampled_from([None, "max_tokens", "max_completion_tokens"]),
)
def test_a_body_says_the_same_as_before_but_for_what_must_change(
    unknown: dict[str, Any], stream: bool, limit: str | None
) -> None:
    given = {**unknown, "model": "acct/m", "messages": [{"role": "user"}], "stream": stream}
    if limit:
        given[limit] = 9
    for route in (ROUTE, OLD):
        request = prepared(CHAT, json.dumps(given), route)
        expected = {**given, "model": "upstream-1"}
        if limit:
            del expected[limit]
        expected[route.limit_field] = 9 if limit else 1024
        if stream:
            expected["stream_options"] = {"include_usage": True}
        assert json.loads(request.body) == expected
        assert request.bound.output_tokens == expected[route.limit_field]
        assert request.bound.input_tokens >= len(request.body)


@pytest.mark.req("LIM-1")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "more",
    [
        '"model": "acct/m"',
        '"MODEL": "acct/dearer"',
        '"mod\\u0065l": "acct/m"',
    ],
)
def test_two_models_in_one_body_are_refused(form: Form, more: str) -> None:
    body = '{"model": "acct/m", ' + SAID + ', "input": "x", ' + more + "}"
    with pytest.raises(InvalidRequest, match="model"):
        prepared(form, body)


@pytest.mark.req("USE-1", "LIM-1")
@pytest.mark.parametrize(
    ("form", "more"),
    [
        (CHAT, '"max_tokens": 1, "max_tokens": 1000'),
        (CHAT, '"max_tokens": 1, "max_completion_tokens": 1'),
        (CHAT, '"max_tokens": null, "max_completion_tokens": 1'),
        (CHAT, '"max_tokens": -1'),
        (CHAT, '"max_tokens": 1.5'),
        (CHAT, '"max_tokens": 99999999999999999999'),
        (CHAT, '"max_tokens": true'),
        (CHAT, '"n": 17'),
        (CHAT, '"n": 0'),
        (CHAT, '"stream": "true"'),
        (CHAT, '"stream": 1'),
        (CHAT, '"stream": true, "stream_options": []'),
        (CHAT, '"stream": true, "stream_options": {"include_usage": 1}'),
        (CHAT, '"stream": true, "stream_options": {"include_usage": true, "Include_Usage": false}'),
        (CHAT, '"service_tier": "priority"'),
        (CHAT, '"web_search_options": {}'),
        (CHAT, '"tools": [{"type": "web_search"}]'),
        (CHAT, '"tools": [{"type": "function", "type": "web_search"}]'),
        (CHAT, '"tools": {}'),
        (CHAT, '"tools": [' + ",".join(['{"type": "function"}'] * 513) + "]"),
        (MESSAGES, '"tools": [{"type": "web_search_20250305", "name": "w"}]'),
        (MESSAGES, '"mcp_servers": [{"url": "x"}]'),
        (MESSAGES, '"container": "c"'),
        (MESSAGES, '"speed": "fast"'),
        (MESSAGES, '"max_tokens": 0'),
        (RESPONSES, '"input": "x", "previous_response_id": "resp_1"'),
        (RESPONSES, '"input": "x", "conversation": "conv_1"'),
        (RESPONSES, '"input": "x", "store": true'),
        (RESPONSES, '"input": "x", "store": 0'),
        (RESPONSES, '"input": "x", "background": true'),
        (RESPONSES, '"input": []'),
        (RESPONSES, '"input": ""'),
        (RESPONSES, '"input": [{"type": "item_reference", "id": "msg_1"}]'),
        (RESPONSES, '"input": "x", "tools": [{"type": "file_search", "vector_store_ids": ["v"]}]'),
        (EMBEDDINGS, '"input": ""'),
        (EMBEDDINGS, '"input": 7'),
    ],
)
def test_what_cannot_be_bounded_or_read_in_one_way_is_refused(form: Form, more: str) -> None:
    body = '{"model": "acct/m", ' + SAID + ", " + more + "}"
    with pytest.raises(InvalidRequest):
        prepared(form, body)


@pytest.mark.req("DB-4")
@pytest.mark.parametrize(
    ("form", "prompt"),
    [
        (CHAT, {"messages": [{"content": [{"type": "file", "file": {"file_id": "f"}}]}]}),
        (CHAT, {"messages": [{"content": [{"type": "file", "file": {"file_id": None}}]}]}),
        (RESPONSES, {"input": [{"content": [{"type": "input_image", "file_id": "f"}]}]}),
        (RESPONSES, {"input": [{"output": [{"type": "input_file", "file_id": "f"}]}]}),
        (MESSAGES, {"messages": [
            {"content": [{"type": "document", "source": {"type": "file", "file_id": "f"}}]}]}),
        (MESSAGES, {"messages": [{"content": [{"type": "tool_result", "content": [
            {"type": "image", "source": {"type": "file", "file_id": "f"}}]}]}]}),
    ],
)  # fmt: skip
def test_files_kept_at_the_provider_are_nobodys_to_name(form: Form, prompt: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest, match="kept at the provider"):
        prepared(form, json.dumps({"model": "acct/m", **prompt}))


@pytest.mark.req("LIM-1")
@pytest.mark.parametrize(
    ("form", "name", "part"),
    [
        (CHAT, "messages", {"type": "image_url", "image_url": {"url": "https://e.x/a.png"}}),
        (RESPONSES, "input", {"type": "input_image", "image_url": "https://e.x/a.png"}),
        (MESSAGES, "messages", {"type": "image", "source": {"type": "url", "url": "https://e.x"}}),
    ],
)
def test_a_picture_counts_for_more_than_its_address(
    form: Form, name: str, part: dict[str, Any]
) -> None:
    body = {"model": "acct/m", name: [{"role": "user", "content": [part, part]}]}
    assert prepared(form, json.dumps(body)).bound.input_tokens > 100_000


@pytest.mark.parametrize("form", [CHAT, MESSAGES])
def test_five_megabytes_of_text_are_too_much_but_not_of_a_picture(form: Form) -> None:
    long = "x" * 5 * 1024 * 1024
    with pytest.raises(TooLarge):
        prepared(form, json.dumps({"model": "acct/m", "messages": [{"content": long}]}))
    part = {"type": "image_url", "image_url": {"url": long}}
    if form is MESSAGES:
        part = {"type": "image", "source": {"data": long}}
    prepared(form, json.dumps({"model": "acct/m", "messages": [{"content": [part]}]}))


def test_the_manifest_is_given_what_the_model_is_shown() -> None:
    request = prepared(CHAT, '{"model": "acct/m", ' + SAID + ', "tools": [{"type": "function"}]}')
    assert request.segments == {
        "messages": b'[{"role": "user", "content": "hi"}]',
        "tools": b'[{"type": "function"}]',
    }
