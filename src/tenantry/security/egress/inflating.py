"""Decompression that stops at a ceiling, so that a bomb costs no more than what it may weigh."""

import zlib
from collections.abc import Iterator

from tenantry.core.errors import QueryFailed

_PIECE = 1 << 16


class Inflater:
    """Turns a body's bytes as sent into its bytes as meant, up to `most` of them."""

    def __init__(self, encoding: str, most: int) -> None:
        """One body.

        Args:
            encoding: the `content-encoding` header, or empty.
            most: bytes after decompression.

        Raises:
            QueryFailed: a compression that was not asked for.
        """
        coding = encoding.strip().lower()
        if coding not in {"", "identity", "gzip", "x-gzip", "deflate"}:
            raise QueryFailed("The source compressed its answer in a way that was not asked for.")
        self._packed = coding not in {"", "identity"}
        self._stream = _stream() if self._packed else None
        self._left = most

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """What `piece` yields.

        Raises:
            QueryFailed: more than may be, or not what the header says.
        """
        if self._stream is None:
            yield self._counted(piece)
            return
        while piece:
            if self._stream.eof:  # gzip allows one member after the other (RFC 1952, 2.2)
                self._stream = _stream()
            try:
                out = self._stream.decompress(piece, _PIECE)
            except zlib.error:
                raise QueryFailed("The source's answer is not compressed as it says.") from None
            piece = self._stream.unused_data if self._stream.eof else self._stream.unconsumed_tail
            yield self._counted(out)

    def finish(self) -> None:
        """The body ended.

        Raises:
            QueryFailed: within a compressed stream.
        """
        if self._stream is not None and not self._stream.eof:
            raise QueryFailed("The source broke off its answer.")

    def _counted(self, out: bytes) -> bytes:
        self._left -= len(out)
        if self._left < 0:
            raise QueryFailed("The source's answer is larger than allowed.")
        return out


def _stream() -> "zlib._Decompress":
    return zlib.decompressobj(wbits=32 + zlib.MAX_WBITS)  # 32: tell gzip from zlib by its header
