"""What the audit log says about the demo's requests, read through the API."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from tenantry.demo.client import Client
from tenantry.demo.provision import Place

_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Manifests:
    """What the prompt manifests prove: prompts sent, segments in them, and how many were foreign.

    Attributes:
        prompts: model calls.
        segments: pieces of text in them.
        foreign: pieces that did not belong to the tenant that asked.
    """

    prompts: int
    segments: int
    foreign: int


async def recorded(
    operator: Client, place: Place, requests: Collection[str]
) -> list[Mapping[str, Any]]:
    """Audit events about these requests, oldest first, in the tenant's chain and the platform's.

    Raises:
        TenantryError: the server refused.
    """
    events = (await place.admin.get(f"/v1/audit?limit={_PAGE}"))["data"]
    events += (await operator.get(f"/v1/operator/audit?limit={_PAGE}"))["data"]
    known = [event for event in events if event["request_id"] in requests]
    return sorted(known, key=lambda event: str(event["at"]))


def manifests(events: Collection[Mapping[str, Any]], place: Place) -> Manifests:
    """What the manifests among these events prove about whose text a model was shown."""
    prompts = [e["detail"]["segments"] for e in events if e["action"] == "model.called"]
    owners = [segment["owner"] for segments in prompts for segment in segments]
    foreign = sum(owner != place.tenant_id for owner in owners)
    return Manifests(len(prompts), len(owners), foreign)
