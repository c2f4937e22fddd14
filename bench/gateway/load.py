"""The client side: keeps a number of connections busy, and times every answer.

Run: python -m bench.gateway.load '{"port": …, "path": …, "headers": {…}, "body": "…",
"connections": 32, "seconds": 4}'; prints one JSON line.
"""

import asyncio
import json
import sys
import time
from array import array
from typing import cast

import uvloop


class Client(asyncio.Protocol):
    """One connection: asks, waits for the whole answer, asks again."""

    def __init__(self, request: bytes, run: "Run") -> None:
        self._request = request
        self._run = run
        self._received = bytearray()
        self._first_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)
        self._ask()

    def connection_lost(self, _exc: Exception | None) -> None:
        """Count a connection that the other side gave up."""
        self._run.lost()

    def data_received(self, data: bytes) -> None:
        """Take a piece of an answer."""
        if not self._received:
            self._first_at = time.perf_counter()
        self._received += data
        if self._is_whole():
            ok = self._received.startswith(b"HTTP/1.1 200")
            now = time.perf_counter()
            self._run.answered(ok, now - self._asked_at, self._first_at - self._asked_at)
            if not ok and not self._run.sample:
                self._run.sample = bytes(self._received[-600:])
            self._received.clear()
            if self._run.is_over(now):
                self._transport.close()
            else:
                self._ask()

    def _ask(self) -> None:
        self._asked_at = time.perf_counter()
        self._transport.write(self._request)

    def _is_whole(self) -> bool:
        head_end = self._received.find(b"\r\n\r\n")
        if head_end == -1:
            return False
        head = bytes(self._received[:head_end]).lower()
        at = head.find(b"content-length:")
        if at == -1:
            return self._received.endswith(b"0\r\n\r\n")
        length = int(head[at + 15 :].split(b"\r\n", 1)[0])
        return len(self._received) >= head_end + 4 + length


class Run:
    """What a run came to; times in seconds."""

    def __init__(self, connections: int, seconds: float) -> None:
        self.whole, self.first = array("d"), array("d")
        self.failed, self.sample = 0, b""
        self.began = time.perf_counter()
        self._ends = self.began + seconds
        self._open = connections
        self.over = asyncio.Event()

    def answered(self, ok: bool, whole_s: float, first_s: float) -> None:
        """Note an answer."""
        if ok:
            self.whole.append(whole_s)
            self.first.append(first_s)
        else:
            self.failed += 1

    def is_over(self, now: float) -> bool:
        """Whether time is up."""
        return now >= self._ends

    def lost(self) -> None:
        """A connection ended."""
        self._open -= 1
        if not self._open:
            self.over.set()

    def summary(self) -> dict[str, object]:
        """Requests, failures, seconds, and quantiles in milliseconds."""
        took = time.perf_counter() - self.began
        return {
            "requests": len(self.whole),
            "failed": self.failed,
            "seconds": took,
            "p50_ms": _quantile(self.whole, 0.5),
            "p99_ms": _quantile(self.whole, 0.99),
            "step": sum(0.035 < each < 0.055 for each in self.whole) / max(1, len(self.whole)),
            "first_p50_ms": _quantile(self.first, 0.5),
            "sample": self.sample.decode(errors="replace"),
        }


def _quantile(values: "array[float]", share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000 if ordered else 0.0


async def main() -> None:
    """One run."""
    asked = json.loads(sys.argv[1])
    body = asked["body"].encode()
    headers = {
        "host": f"127.0.0.1:{asked['port']}",
        "content-type": "application/json",
        "content-length": str(len(body)),
        **asked["headers"],
    }
    head = f"POST {asked['path']} HTTP/1.1\r\n" + "".join(
        f"{n}: {v}\r\n" for n, v in headers.items()
    )
    request = head.encode() + b"\r\n" + body
    run = Run(asked["connections"], asked["seconds"])
    loop = asyncio.get_running_loop()
    for _ in range(asked["connections"]):
        await loop.create_connection(lambda: Client(request, run), "127.0.0.1", asked["port"])
    await run.over.wait()
    print(json.dumps(run.summary()))


if __name__ == "__main__":
    uvloop.run(main())
