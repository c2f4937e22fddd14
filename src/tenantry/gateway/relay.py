"""Passes an answer on, and settles its call before the last of it goes out."""

from collections.abc import AsyncIterator

import orjson

from tenantry.core.clock import Clock
from tenantry.core.errors import ProviderMalformed
from tenantry.gateway.frames import Frames, events_in
from tenantry.gateway.late_meter import LateMeter
from tenantry.gateway.running import RunningCall
from tenantry.metering.ledger import Ledger
from tenantry.providers.calls import json_object
from tenantry.providers.upstream import UpstreamResponse
from tenantry.providers.usage import id_of

_LARGEST_ANSWER = 64 * 1024 * 1024
_PROGRESS_EVERY_S = 2.0
_PROGRESS_EVERY_BYTES = 256 * 1024
"""About two thousand tokens of a stream, each in an event of its own."""


class Relay:
    """Passes answers on; holds nothing of a call once it ends."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock

    async def whole(self, call: RunningCall, response: UpstreamResponse) -> bytes:
        """An answer in one piece, once it is settled.

        Raises:
            ProviderMalformed: it is not JSON, or too large.
        """
        body = bytearray()
        failed: BaseException | None = None
        try:
            async for chunk in response.chunks:
                body += chunk
                if len(body) > _LARGEST_ANSWER:
                    raise ProviderMalformed("The model provider sent an answer that is too large.")
            answer = json_object(bytes(body))
            call.upstream_id = id_of(answer)
            if (reported := call.asked.form.usage_in(answer)) is not None:
                call.reported(reported)
            else:
                call.guess(len(body))
        except BaseException as error:
            failed = error
            raise
        finally:
            response.close()
            await call.settle(self._ledger, failed)
        return bytes(body)

    async def stream(self, call: RunningCall, response: UpstreamResponse) -> AsyncIterator[bytes]:
        """An answer event by event; its last one once it is settled.

        Raises:
            ProviderMalformed: it ended early, or is none.
        """
        late, frames = LateMeter(call.asked.form.meter), Frames()
        hides = call.request.hides_usage
        noted_at, unnoted_bytes = self._clock.monotonic(), 0
        is_whole = False
        failed: BaseException | None = None
        try:
            async for chunk in response.chunks:
                late.feed(chunk)
                # The last event waits until the settlement is durable.
                if ready := _asked_for(frames.feed(chunk), hides):
                    yield ready
                unnoted_bytes += len(chunk)
                now = self._clock.monotonic()
                if now - noted_at > _PROGRESS_EVERY_S or unnoted_bytes > _PROGRESS_EVERY_BYTES:
                    noted_at, unnoted_bytes = now, 0
                    call.note(late.now())
                    await self._ledger.progress(call.ctx, call.open, call.usage)
            is_whole = True
            ended = late.end()
            call.note(ended)
            if not ended.finished or ended.malformed:
                raise ProviderMalformed("The model provider broke off its answer.")
        except BaseException as error:
            failed = error
            raise
        finally:
            if not is_whole:
                call.note(late.now())
            response.close()
            await call.settle(self._ledger, failed)
        yield _asked_for(frames.rest(), hides)


def _asked_for(data: bytes, hides_usage: bool) -> bytes:
    """What the client is to see of these events: not the usage that only we asked for."""
    if not hides_usage or b'"usage"' not in data:
        return data
    return b"".join(event for event in events_in(data) if not _is_usage_only(event))


def _is_usage_only(event: bytes) -> bool:
    """Whether an event carries the usage alone, which the client did not ask for."""
    if b'"usage"' not in event:
        return False
    data = event.strip().removeprefix(b"data:").strip()
    try:
        found = orjson.loads(data)
    except orjson.JSONDecodeError:
        return False
    return isinstance(found, dict) and found.get("choices") == [] and bool(found.get("usage"))
