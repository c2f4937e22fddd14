"""The prompt of a raw request: what bounds its tokens, and what it may not refer to.

Threat: a short reference stands for much (a picture, a document), or for what another tenant keeps
at the provider: all tenants of the platform's account share its files and stored answers.
Invariant: the bound is never under what the provider counts; nothing kept there is referred to.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tenantry.core.errors import InvalidRequest, TooLarge
from tenantry.gateway.request import Draft
from tenantry.gateway.splice import refuse_repeated

MOST_MESSAGES = 10_000
MOST_TOOLS = 512
MOST_OUTPUT_TOKENS = 10_000_000
MOST_TEXT_BYTES = 4 * 1024 * 1024
"""More text than the largest context window holds; pictures and documents are not counted."""
_TOKENS_AROUND = 64
"""Added by a provider around a prompt: role markers, the start of the answer."""
_TOKENS_A_MESSAGE = 16
_TOKENS_WITH_TOOLS = 2048
"""A provider's own instructions on how tools are called, those of a desktop's included."""
_TOKENS_A_TOOL = 64
_TOKENS_A_PICTURE = 50_000
"""The dearest: eight tiles of 5,667 and 2,833 around them (gpt-4o-mini, high detail)."""
_TOKENS_A_DOCUMENT = 1_000_000
_PICTURES = frozenset({"image_url", "input_image", "image"})
_DOCUMENTS = frozenset({"file", "input_file", "document", "container_upload"})
_HOLDERS = ("file", "source", "image_url", "input_audio")
_OWN_TOOLS = ("bash_", "text_editor_", "computer_", "memory_")
"""Of Anthropic's, those that the client carries out itself."""
_KEPT = "what is kept at the provider is not one tenant's alone; send the content itself."


def prompt_bound(draft: Draft, body: bytes, prompt: object, messages: int) -> int:
    """The most tokens that a prompt can have.

    A byte-level tokenizer never makes more tokens than there are bytes.

    Raises:
        InvalidRequest: it refers to what is kept at the provider.
        TooLarge: it has more text than any model reads.
    """
    tokens = len(body) + _TOKENS_AROUND + _TOKENS_A_MESSAGE * messages
    data_bytes = 0
    for part in _parts(prompt):
        kind = str(part.get("type"))
        if kind in _PICTURES or kind in _DOCUMENTS or kind == "input_audio":
            _refuse_kept(part)
            data_bytes += _data_bytes(part)
            tokens += _TOKENS_A_DOCUMENT if kind in _DOCUMENTS else _TOKENS_A_PICTURE
        elif kind == "item_reference":
            raise InvalidRequest(f"item_reference: {_KEPT}")
    if len(body) - data_bytes > MOST_TEXT_BYTES:
        raise TooLarge(f"A prompt has at most {MOST_TEXT_BYTES} bytes of text.")
    tools = draft.fields.get("tools") or ()
    return tokens + (_TOKENS_WITH_TOOLS + _TOKENS_A_TOOL * len(tools) if tools else 0)


def check_tools(draft: Draft, kinds: Sequence[str | None]) -> None:
    """Refuse tools that the provider would carry out itself.

    What they cost is in no bound, and some reach what is kept at the provider.

    Raises:
        InvalidRequest: there are too many, or one is of another kind.
    """
    tools = draft.fields.get("tools")
    if tools is None:
        return
    if not isinstance(tools, list) or len(tools) > MOST_TOOLS:
        raise InvalidRequest(f"tools: a list of at most {MOST_TOOLS} tools is needed.")
    refuse_repeated(draft.span("tools"), "tools")
    for tool in tools:
        kind = tool.get("type") if isinstance(tool, dict) else ""
        if kind not in kinds and not (None in kinds and str(kind).startswith(_OWN_TOOLS)):
            raise InvalidRequest("tools: only tools that the client carries out itself are taken.")


def refuse_references(fields: Mapping[str, Any], names: Sequence[str]) -> None:
    """Refuse fields that refer to what is kept at the provider.

    Raises:
        InvalidRequest: one of them is there.
    """
    for name in names:
        if fields.get(name) is not None:
            raise InvalidRequest(f"{name}: {_KEPT}")


def _parts(prompt: object) -> Iterator[Mapping[str, Any]]:
    pending = [prompt]
    while pending:
        item = pending.pop()
        if isinstance(item, list):
            pending += item
        elif isinstance(item, dict):
            yield item
            pending += [item[name] for name in ("content", "output", "source") if name in item]


def _refuse_kept(part: Mapping[str, Any]) -> None:
    for holder in (part, *(part.get(name) for name in _HOLDERS)):
        if isinstance(holder, dict) and "file_id" in holder:
            raise InvalidRequest(f"file_id: {_KEPT}")


def _data_bytes(part: Mapping[str, Any]) -> int:
    """Bytes of the content that a part carries in itself."""
    size = 0
    for holder in (part, *(part.get(name) for name in _HOLDERS)):
        if isinstance(holder, str):
            size += len(holder)
        elif isinstance(holder, dict):
            data = (holder.get(name) for name in ("data", "url", "file_data"))
            size += sum(len(each) for each in data if isinstance(each, str))
    return size
