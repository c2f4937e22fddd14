"""A request of each API as it goes to the provider.

Sources: OpenAI's API reference, "Chat completions", "Responses" and "Embeddings"; Anthropic's,
"Messages".
"""

from tenantry.core.errors import InvalidRequest
from tenantry.gateway.prompt import (
    MOST_MESSAGES,
    MOST_OUTPUT_TOKENS,
    check_tools,
    prompt_bound,
    refuse_references,
)
from tenantry.gateway.request import (
    Draft,
    Given,
    RawRequest,
    flag,
    objects,
    only,
    whole_number,
)
from tenantry.metering.usage import TokenUsage
from tenantry.providers.routes import RawRoute

_MOST_CHOICES = 16
_CHAT_LIMITS = ("max_completion_tokens", "max_tokens")
_CHAT_PROMPT = ("messages", "tools", "functions", "response_format")
_CHAT = frozenset(
    {
        *_CHAT_PROMPT, *_CHAT_LIMITS, "model", "n", "stream", "stream_options", "service_tier",
        "web_search_options",
    }
)  # fmt: skip
_MESSAGES_PROMPT = ("system", "messages", "tools")
_MESSAGES = frozenset(
    {
        *_MESSAGES_PROMPT, "model", "max_tokens", "stream", "service_tier", "mcp_servers",
        "container", "speed", "inference_geo",
    }
)  # fmt: skip
_RESPONSES_PROMPT = ("instructions", "input", "tools", "text")
_RESPONSES_KEPT = ("previous_response_id", "conversation", "prompt")
_RESPONSES = frozenset(
    {
        *_RESPONSES_PROMPT, *_RESPONSES_KEPT, "model", "max_output_tokens", "stream",
        "service_tier", "background", "store",
    }
)  # fmt: skip
_EMBEDDINGS = frozenset({"model", "input"})
_ONE_PRICE = "this changes the price; the price book has one price a model."
_BY_THE_PROVIDER = "only tools that the client carries out itself are taken."


def chat_request(given: Given, route: RawRoute) -> RawRequest:
    """A chat completion.

    Raises:
        InvalidRequest: a field that is read here is not what it must be.
    """
    draft, fields = Draft(given, _CHAT), given.fields
    messages = objects(fields, "messages", MOST_MESSAGES)
    choices = whole_number(fields, "n", 1, _MOST_CHOICES) or 1
    stream = flag(fields, "stream")
    only(fields, "service_tier", ("auto", "default"), _ONE_PRICE)
    only(fields, "web_search_options", (), _BY_THE_PROVIDER)
    check_tools(draft, ("function", "custom"))
    limit = _chat_limit(draft, route)
    options = fields.get("stream_options")
    if options is not None and not isinstance(options, dict):
        raise InvalidRequest("stream_options: an object is needed.")
    wants_usage = flag(options or {}, "include_usage")
    if stream:
        draft.set_within("stream_options", "include_usage", True)
    draft.set("model", route.upstream_model)
    body = draft.made()
    prompt = prompt_bound(draft, body, messages, len(messages))
    bound = TokenUsage(input_tokens=prompt, output_tokens=limit * choices)
    return RawRequest(body, stream, bound, draft.spans(_CHAT_PROMPT), stream and not wants_usage)


def messages_request(given: Given, route: RawRoute) -> RawRequest:
    """A message of Anthropic's.

    Raises:
        InvalidRequest: a field that is read here is not what it must be.
    """
    draft, fields = Draft(given, _MESSAGES), given.fields
    messages = objects(fields, "messages", MOST_MESSAGES)
    stream = flag(fields, "stream")
    only(fields, "service_tier", ("auto", "standard_only"), _ONE_PRICE)
    only(fields, "speed", ("standard",), _ONE_PRICE)
    only(fields, "inference_geo", ("global",), _ONE_PRICE)
    only(fields, "mcp_servers", ([],), _BY_THE_PROVIDER)
    refuse_references(fields, ("container",))
    check_tools(draft, (None, "custom"))
    limit = _limit(draft, "max_tokens", route)
    draft.set("model", route.upstream_model)
    body = draft.made()
    prompt = prompt_bound(draft, body, [messages, fields.get("system")], len(messages))
    bound = TokenUsage(input_tokens=prompt, output_tokens=limit)
    return RawRequest(body, stream, bound, draft.spans(_MESSAGES_PROMPT))


def responses_request(given: Given, route: RawRoute) -> RawRequest:
    """A request to the Responses API, of which the provider keeps nothing.

    Raises:
        InvalidRequest: a field that is read here is not what it must be.
    """
    draft, fields = Draft(given, _RESPONSES), given.fields
    asked = fields.get("input")
    if not isinstance(asked, str) or not asked:
        asked = objects(fields, "input", MOST_MESSAGES)
    stream = flag(fields, "stream")
    only(fields, "service_tier", ("auto", "default"), _ONE_PRICE)
    only(fields, "background", (False,), "an answer is given while the client waits.")
    only(fields, "store", (False,), "answers are not kept at the provider.")
    refuse_references(fields, _RESPONSES_KEPT)
    check_tools(draft, ("function", "custom"))
    limit = _limit(draft, "max_output_tokens", route)
    draft.set("store", False)
    draft.set("model", route.upstream_model)
    body = draft.made()
    prompt = prompt_bound(draft, body, asked, len(asked) if isinstance(asked, list) else 1)
    bound = TokenUsage(input_tokens=prompt, output_tokens=limit)
    return RawRequest(body, stream, bound, draft.spans(_RESPONSES_PROMPT))


def embeddings_request(given: Given, route: RawRoute) -> RawRequest:
    """Texts to embed.

    Raises:
        InvalidRequest: there is no input.
    """
    draft = Draft(given, _EMBEDDINGS)
    if not isinstance(given.fields.get("input"), str | list) or not given.fields["input"]:
        raise InvalidRequest("input: a text or a list of texts is needed.")
    draft.set("model", route.upstream_model)
    body = draft.made()
    bound = TokenUsage(input_tokens=prompt_bound(draft, body, None, 1))
    return RawRequest(body, False, bound, draft.spans(("input",)))


def _chat_limit(draft: Draft, route: RawRoute) -> int:
    """The output bound, under the name that this provider has for it."""
    given = [name for name in _CHAT_LIMITS if name in draft.fields]
    if len(given) > 1:
        raise InvalidRequest("max_tokens, max_completion_tokens: only one of them may be given.")
    if not given or given[0] == route.limit_field:
        return _limit(draft, route.limit_field, route)
    limit = _allowed(draft, given[0], route)
    draft.move(given[0], route.limit_field, limit)
    return limit


def _limit(draft: Draft, field: str, route: RawRoute) -> int:
    limit = _allowed(draft, field, route)
    draft.set(field, limit)
    return limit


def _allowed(draft: Draft, field: str, route: RawRoute) -> int:
    wish = whole_number(draft.fields, field, 1, MOST_OUTPUT_TOKENS)
    return min(route.max_output_tokens, wish or route.max_output_tokens)
