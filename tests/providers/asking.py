"""Asks a model, and checks that its chunks come in the order the protocol promises."""

from tenantry.providers.base import ChatModel, ChatRequest, Chunk, Finished, Message, TextDelta

ASK = ChatRequest("gpt-x", (Message("user", "What is the answer?"),), max_output_tokens=100)


async def collect(model: ChatModel, request: ChatRequest = ASK) -> list[Chunk]:
    """Every chunk of an answer."""
    return [chunk async for chunk in model.stream(request)]


async def collect_into(chunks: list[Chunk], model: ChatModel, request: ChatRequest = ASK) -> None:
    """Every chunk of an answer, those before a failure included."""
    async for chunk in model.stream(request):
        chunks.append(chunk)


async def answer_of(model: ChatModel, request: ChatRequest = ASK) -> tuple[str, Finished]:
    """The text and the end, which must come last and once."""
    *deltas, end = await collect(model, request)
    assert isinstance(end, Finished)
    assert all(isinstance(delta, TextDelta) for delta in deltas)
    return "".join(d.text for d in deltas if isinstance(d, TextDelta)), end
