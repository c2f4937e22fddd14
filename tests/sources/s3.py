"""A bucket: the part of S3's API that listing and reading need, as AWS documents it, over HTTP.

Lists in pages of two keys, so that every test goes on where a page ended; refuses whoever does
not sign with its key.
"""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

from aiohttp import web

KEY_ID, SECRET_KEY = "AKIDTESTBUCKET", "bucket-secret-key"
_PAGE = 2
_STAMP = "2026-01-02T03:04:05.000Z"


@dataclass
class S3:
    """One bucket.

    Attributes:
        objects: bytes by key; change them as you like.
        url: its endpoint.
        is_away: it answers 503 to everything.
    """

    objects: dict[str, bytes] = field(default_factory=dict)
    url: str = ""
    is_away: bool = False

    async def answer(self, request: web.Request) -> web.Response:
        """GET /bucket?list-type=2 … or GET /bucket/key."""
        signed = request.headers.get("authorization", "")
        if self.is_away:
            return web.Response(status=503)
        if not signed.startswith(f"AWS4-HMAC-SHA256 Credential={KEY_ID}/"):
            return _xml("<Error><Code>AccessDenied</Code></Error>", 403)
        _, _, key = request.path.lstrip("/").partition("/")
        if not key:
            return self._listed(request)
        if key not in self.objects:
            return _xml("<Error><Code>NoSuchKey</Code></Error>", 404)
        content = self.objects[key]
        stamp = "Fri, 02 Jan 2026 03:04:05 GMT"
        return web.Response(body=content, headers={"etag": _tag(content), "last-modified": stamp})

    def _listed(self, request: web.Request) -> web.Response:
        prefix, after = request.query.get("prefix", ""), request.query.get("continuation-token", "")
        keys = sorted(key for key in self.objects if key.startswith(prefix) and key > after)
        page, more = keys[:_PAGE], len(keys) > _PAGE
        contents = "".join(
            f"<Contents><Key>{escape(key)}</Key><LastModified>{_STAMP}</LastModified>"
            f"<ETag>{escape(_tag(self.objects[key]))}</ETag><Size>{len(self.objects[key])}</Size>"
            "<StorageClass>STANDARD</StorageClass></Contents>"
            for key in page
        )
        token = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if more else ""
        return _xml(
            f"<ListBucketResult><IsTruncated>{str(more).lower()}</IsTruncated>"
            f"{token}{contents}</ListBucketResult>"
        )


def _tag(content: bytes) -> str:
    return f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'


def _xml(text: str, status: int = 200) -> web.Response:
    return web.Response(text=text, status=status, content_type="application/xml")


@asynccontextmanager
async def bucket_served() -> AsyncIterator[S3]:
    """An empty bucket of any name."""
    s3 = S3()
    app = web.Application()
    app.router.add_get("/{path:.*}", s3.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        s3.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield s3
    finally:
        await runner.cleanup()
