"""The embedding engine in a process beside a worker, so that computing never holds the worker up.

Threat: a batch of passages keeps the interpreter, heartbeats stop, and the worker's jobs go to
another; a text that the engine cannot bear takes the worker with it.
Invariant: the worker only waits; the process has ceilings on memory and on the processor time of a
request, knows no secret, and is started anew when it ended.
"""

import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress

import numpy as np
import orjson
from numpy.typing import NDArray

from tenantry.core.errors import ProviderUnavailable
from tenantry.providers.engine_child import read_frame, write_frame

_PROGRAM = "tenantry.providers.engine_child"
_MEMORY_BYTES = 1 << 30
_TRIES = 2


class EngineApart:
    """The engine's calls, made in a process; blocks, and lets go of the interpreter meanwhile."""

    def __init__(self, command: Sequence[str] = (), memory_bytes: int = _MEMORY_BYTES) -> None:
        program = command or (sys.executable, "-I", "-m", _PROGRAM)
        self._command = (*program, str(memory_bytes))
        self._turn = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._end: Callable[[], object] = lambda: None

    @property
    def process_id(self) -> int | None:
        """Of the process that computes, once there is one."""
        return self._process.pid if self._process else None

    def query(self, texts: str) -> NDArray[np.float32]:
        """Vector of a question."""
        return self._asked({"want": "query", "text": texts})

    def passage(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of passages, shape (n, dimension)."""
        return self._asked({"want": "passages", "texts": list(texts)}).reshape(len(texts), -1)

    def token_count(self, text: str, is_query: bool = False) -> int:  # noqa: ARG002  # as the engine's
        """Tokens of a passage."""
        return int(self._asked({"want": "count", "text": text})[0])

    def close(self) -> None:
        """End the process; the next text starts another."""
        self._end()
        self._process = None

    def _asked(self, request: dict[str, object]) -> NDArray[np.float32]:
        body = orjson.dumps(request)
        with self._turn:
            for _ in range(_TRIES):
                answer = self._answer(body)
                if answer is not None:
                    return np.frombuffer(answer, np.float32)
        raise ProviderUnavailable("The embedding model ended while it read this.")

    def _answer(self, body: bytes) -> bytes | None:
        process = self._running()
        assert process.stdin is not None  # noqa: S101  # it was asked for
        assert process.stdout is not None  # noqa: S101  # it was asked for
        try:
            write_frame(process.stdin, body)
            answer = read_frame(process.stdout)
        except OSError:
            answer = None
        if answer is None:
            self.close()
        return answer

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            try:
                self._process = subprocess.Popen(  # noqa: S603  # our own program
                    self._command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    env={},  # ours may hold secrets
                    cwd="/",
                )
            except OSError as error:
                raise ProviderUnavailable("The embedding model cannot be started now.") from error
            self._end = weakref.finalize(self, _end, self._process)
        return self._process


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):  # what was not sent is not missed
                pipe.close()
    process.wait()
