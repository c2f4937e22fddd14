"""What is asked of an assistant, in the words of either API, and the facts about its answer."""

from collections.abc import Mapping
from typing import Any

from tenantry.agent.events import Answer
from tenantry.agent.parts import TurnRequest
from tenantry.core.errors import InvalidRequest, NotFound
from tenantry.core.ids import ConversationId, parse_id
from tenantry.fairness.bulkheads import Lane
from tenantry.sessions.session import Opening

_MOST_MESSAGES = 200


def turn_request(body: Mapping[str, Any], lane: Lane) -> TurnRequest:
    """What the member asks, out of a chat completion request that waits in this lane.

    Raises:
        InvalidRequest: messages are missing or of a form that assistants do not take.
        NotFound: the conversation cannot exist.
    """
    messages = body.get("messages")
    if not isinstance(messages, list) or not 1 <= len(messages) <= _MOST_MESSAGES:
        raise InvalidRequest(f"messages: a list of 1 to {_MOST_MESSAGES} messages is needed.")
    if body.get("tools") or body.get("functions"):
        raise InvalidRequest("tools: an assistant brings its own tools; name a raw model instead.")
    spoken = [_spoken(message) for message in messages]
    role, question = spoken[-1]
    if role != "user" or not question.strip():
        raise InvalidRequest("messages: the last one must be the user's, and not empty.")
    opening = Opening(str(body["model"]), question, _conversation(body))
    # In a conversation of ours the history is ours too; a client's own is not needed.
    history = [] if opening.conversation_id else spoken[:-1]
    return TurnRequest(
        opening,
        history,
        _number(body, int, "max_completion_tokens", "max_tokens"),
        _number(body, (int, float), "temperature"),
        lane,
    )


def facts(answer: Answer) -> dict[str, Any]:
    """What our extension field `tenantry` says of an answer."""
    return {
        "conversation_id": str(answer.conversation_id),
        "message_no": answer.message_no,
        "assistant_version": answer.assistant_version,
        "steps": answer.steps,
        "cost_picousd": answer.cost_picousd,
        "citations": list(answer.citations),
        "attachments": list(answer.attachments),
    }


def _conversation(body: Mapping[str, Any]) -> ConversationId | None:
    metadata = body.get("metadata")
    given = body.get("conversation_id")
    if given is None and isinstance(metadata, dict):
        given = metadata.get("conversation_id")
    if given is None:
        return None
    known = parse_id(given) if isinstance(given, str) else None
    if known is None:
        raise NotFound
    return ConversationId(known)


def _spoken(message: object) -> tuple[str, str]:
    if not isinstance(message, dict):
        raise InvalidRequest("messages: every message is an object.")
    role, content = message.get("role"), message.get("content")
    if role not in {"system", "developer", "user", "assistant"}:
        raise InvalidRequest("messages: a role is system, developer, user or assistant.")
    if isinstance(content, list):
        content = "\n".join(_text(part) for part in content)
    if not isinstance(content, str):
        raise InvalidRequest("messages: content is a text, or a list of text parts.")
    return role, content


def _text(part: object) -> str:
    if isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str):
        return str(part["text"])
    raise InvalidRequest("messages: assistants take text parts only.")


def _number(body: Mapping[str, Any], kind: Any, *names: str) -> Any:
    for name in names:
        value = body.get(name)
        if value is None:
            continue
        least, most = (1, 10_000_000) if kind is int else (0, 2)
        if isinstance(value, bool) or not isinstance(value, kind) or not least <= value <= most:
            raise InvalidRequest(f"{name}: a number from {least} to {most} is needed.")
        return value
    return None
