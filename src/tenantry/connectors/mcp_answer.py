"""What a tool of an MCP server answered, as a model may read it: bounded, without secrets (CON-4).

Source: Model Context Protocol 2025-11-25, server/tools, "Tool Result".
"""

from collections.abc import Mapping, Sequence

import orjson

from tenantry.connectors.answers import fitting
from tenantry.connectors.openapi_schema import clean
from tenantry.core.errors import QueryFailed
from tenantry.core.events import Json

_EXCERPT = 400
_MOST_BLOCKS = 1_000


def answer_of(
    result: Mapping[str, Json], traces: Sequence[str], most_bytes: int
) -> dict[str, Json]:
    """The answer: `content`, `structured` if there is such, `truncated` if something was left out.

    Args:
        result: as the server gave it.
        traces: forms of the secrets, which are hidden wherever they stand.
        most_bytes: of the answer as JSON.

    Raises:
        QueryFailed: the tool says that it went wrong; with what it says, cleaned.
    """
    given = result.get("content")
    blocks = [each for each in given if isinstance(each, dict)] if isinstance(given, list) else []
    structured = result.get("structuredContent")
    if result.get("isError") is True:
        texts = " ".join(str(block.get("text", "")) for block in blocks)
        said = clean(fitting(texts, traces, 4 * _EXCERPT)[0], _EXCERPT)
        raise QueryFailed(f"The tool failed: {said}" if said else "The tool failed.")
    answer: dict[str, Json] = {
        "content": [
            _shown(block) for block in blocks[:_MOST_BLOCKS] if not _repeats(block, structured)
        ]
    }
    if structured is not None:
        answer["structured"] = structured
    fit, is_cut = fitting(answer, traces, most_bytes)
    if not isinstance(fit, dict):
        return {"content": [], "note": fit, "truncated": True}
    return {**fit, "truncated": True} if is_cut or len(blocks) > _MOST_BLOCKS else fit


def _shown(block: Mapping[str, Json]) -> Json:
    kind = block.get("type")
    if kind == "text":
        return block.get("text")
    if kind == "resource_link":
        return {"link": block.get("uri"), "name": block.get("name")}
    inside = block.get("resource")
    part = inside if kind == "resource" and isinstance(inside, Mapping) else block
    if isinstance(part.get("text"), str):
        return {"resource": part.get("uri"), "text": part["text"]}
    size = len(str(part.get("data") or part.get("blob") or "")) * 3 // 4
    return f"{clean(kind, 20)} of {size} bytes, {clean(part.get('mimeType'), 60)}: not shown"


def _repeats(block: Mapping[str, Json], structured: Json) -> bool:
    """Whether a text is the structured answer once more, as the protocol asks servers to send."""
    text = block.get("text")
    if structured is None or not isinstance(text, str):
        return False
    try:
        read: Json = orjson.loads(text)
    except (orjson.JSONDecodeError, UnicodeEncodeError):
        read = text
    return structured in (read, {"result": read}, {"result": text})
