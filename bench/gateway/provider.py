"""The other side: a provider that answers at once, as cheaply as Python can.

Run: python -m bench.gateway.provider; prints its port.
"""

import asyncio
import sys
from typing import cast

import uvloop

TOKENS_IN, TOKENS_OUT = 20, 80
_USAGE = (
    f'{{"prompt_tokens":{TOKENS_IN},"completion_tokens":{TOKENS_OUT},'
    f'"total_tokens":{TOKENS_IN + TOKENS_OUT}}}'
)
_TEXT = "The quick brown fox jumps over the lazy dog. " * 10
_WHOLE = (
    '{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"bench","choices":[{"index":0,'
    f'"message":{{"role":"assistant","content":"{_TEXT}"}},"finish_reason":"stop"}}],'
    f'"usage":{_USAGE}}}'
).encode()
_CHUNK = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"bench",'
    b'"choices":[{"index":0,"delta":{"content":"token "},"finish_reason":null}]}\n\n'
)
_LAST = (
    'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"bench",'
    f'"choices":[],"usage":{_USAGE}}}\n\n'
).encode()
EVENTS = 42


def _chunked(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


_JSON_ANSWER = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(_WHOLE)
) + _WHOLE
_STREAM_ANSWER = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
) + _chunked(*[_CHUNK] * (EVENTS - 2), _LAST, b"data: [DONE]\n\n")


class Provider(asyncio.Protocol):
    """One connection; requests come one after the other."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer each whole request."""
        self._pending += data
        while (head_end := self._pending.find(b"\r\n\r\n")) != -1:
            head = bytes(self._pending[:head_end]).lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at != -1 else 0
            end = head_end + 4 + length
            if len(self._pending) < end:
                return
            body = bytes(self._pending[head_end + 4 : end])
            del self._pending[:end]
            streamed = b'"stream":true' in body or b'"stream": true' in body
            self._transport.write(_STREAM_ANSWER if streamed else _JSON_ANSWER)


async def main() -> None:
    """Serve until the parent closes standard input."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Provider, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    uvloop.run(main())
