"""A text that must never be printed, logged, compared in the clear or serialised by accident."""

import hmac
import sys
from typing import NoReturn


class Secret:
    """Holds a secret text; only `reveal` gives it out, so that each use can be found by name."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself, for the one call that needs it."""
        return self._text

    def __repr__(self) -> str:
        return "Secret('…')"

    def __format__(self, _spec: str) -> str:
        return repr(self)

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    __hash__ = None  # type: ignore[assignment]  # no key of a mapping: hashes are compared in the clear

    def __reduce__(self) -> NoReturn:
        raise TypeError("A secret is not serialised.")


def leave_no_core() -> None:
    """Have a crash of this process write no copy of its memory, and the secrets in it, to disk."""
    if sys.platform != "win32":
        import resource  # POSIX has it alone

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
