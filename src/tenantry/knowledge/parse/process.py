"""The parsing process: one document in on standard input, JSON out, and the end.

Started by `knowledge.parser` with an empty environment. Before it looks at a byte it gives up
memory, time, files and processes beyond what parsing needs: a hostile file can only kill this.
Where the kernel has Landlock it opens no file but Python's own, and connects to nothing.
"""

import json
import mimetypes
import resource
import sys
from dataclasses import asdict
from pathlib import Path
from typing import cast

from tenantry.core import sandbox
from tenantry.core.errors import DocumentUnreadable, TenantryError
from tenantry.knowledge.formats import Format
from tenantry.knowledge.parse.parsers import parser_of

_MEMORY_BYTES = 1536 * 1024 * 1024
_CPU_S = 60


def enclose() -> None:
    """Open no file but Python's own, from now on: parsers import codecs and read templates.

    Before anything is imported that starts threads, which would stay free.
    """
    own = [path for path in sys.path if Path(path).is_dir()]
    public = [str(path) for path in mimetypes.knownfiles]  # lists that a library reads
    sandbox.confine_reading([*own, *public])


def confine() -> None:
    """Give up what parsing does not need; there is no way back."""
    for kind, most in (
        (resource.RLIMIT_AS, _MEMORY_BYTES),
        (resource.RLIMIT_CPU, _CPU_S),
        (resource.RLIMIT_FSIZE, 0),  # writes no file
        (resource.RLIMIT_NPROC, 0),  # starts no process or thread
        (resource.RLIMIT_CORE, 0),  # leaves no copy of a tenant's text behind
    ):
        resource.setrlimit(kind, (most, most))


def main(name: Format) -> int:
    """Parse standard input as the format `name`; the result, or the error, as JSON."""
    try:
        enclose()
        parse = parser_of(name)
        confine()
        answer: dict[str, object] = {"document": asdict(parse(sys.stdin.buffer.read()))}
    except TenantryError as error:
        answer = {"error": type(error).__name__, "message": error.message}
    except (MemoryError, RecursionError):
        answer = {"error": DocumentUnreadable.__name__, "message": "The document is too complex."}
    sys.stdout.buffer.write(json.dumps(answer, ensure_ascii=False).encode())
    return 0


if __name__ == "__main__":
    sys.exit(main(cast(Format, sys.argv[1])))
