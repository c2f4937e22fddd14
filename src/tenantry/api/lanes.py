"""In which lane a request waits for its fair turn, and how it is told how long it did."""

from collections.abc import Mapping

from starlette.requests import Request

from tenantry.api.streaming import Headers
from tenantry.core.errors import InvalidRequest
from tenantry.fairness.bulkheads import Lane

LANE_HEADER = "x-tenantry-lane"
QUEUE_HEADER = b"x-tenantry-queue-ms"


def lane_of(request: Request) -> Lane:
    """Interactive, unless the request says that nobody waits for it.

    Raises:
        InvalidRequest: it names a lane that there is not.
    """
    asked = request.headers.get(LANE_HEADER, "interactive")
    if asked == "interactive":
        return "interactive"
    if asked == "batch":
        return "batch"
    raise InvalidRequest(f"{LANE_HEADER}: interactive or batch is needed.")


def encoded(headers: Mapping[str, str]) -> Headers:
    """Headers as they go on the wire."""
    return tuple((name.encode(), value.encode()) for name, value in headers.items())


def queued(queue_s: float) -> Headers:
    """The header that tells how long a call waited for its turn."""
    return ((QUEUE_HEADER, str(round(queue_s * 1000)).encode()),)
