"""What every actor can do by HTTP, found out by doing it: yes, no, or hidden (as if not there)."""

from collections.abc import Mapping

from tests.isolation.matrix_requests import BODIES, NAMED_IN_BODIES, Ids, request_for
from tests.isolation.served import ADD_ACCOUNT, CALL, Estate, Operation, Tenant, served_operations
from tests.service import ApiClient

ACTORS = ("owner", "admin", "analyst", "viewer", "operator", "anonymous")
HEAD = tuple(f"{actor}:{whose}" for actor in ACTORS for whose in ("own", "nbr"))
_ENDS = frozenset({"DELETE"})
_ALSO_ENDS = frozenset({"/v1/keys/{key_id}/rotate"})
_OF_ONE_MEMBER = frozenset({"conversation_id", "result_id", "approval_id"})
_OUTCOMES = {401: "no", 403: "no", 404: "hidden"}
NOT_APPLICABLE = "-"
Row = tuple[str, ...]


async def route_rows(estate: Estate) -> dict[str, Row]:
    """A row for every operation that is served."""
    rows = {}
    for operation in served_operations():
        rows[str(operation)] = await _row(estate, operation)
    return rows


async def _row(estate: Estate, operation: Operation) -> Row:
    names_something = bool(operation.ids) or operation in NAMED_IN_BODIES
    theirs = await _ids(estate.victim, estate.victim.owner, operation)
    shared = None if _ends(operation) else await _shared(estate, operation)
    row = []
    for name, client in _clients(estate).items():
        own = shared
        if own is None:
            maker = client if name in ACTORS[:4] else estate.attacker.owner
            own = await _ids(estate.attacker, maker, operation)
        row.append(await _outcome(client, operation, own))
        if names_something:
            row.append(await _outcome(client, operation, theirs))
        else:
            row.append(NOT_APPLICABLE)
    return tuple(row)


def _ends(operation: Operation) -> bool:
    """Whether a success ends what it acts on, or it is its member's alone: one for each actor."""
    return (
        operation.method in _ENDS
        or operation.path in _ALSO_ENDS
        or bool(_OF_ONE_MEMBER & set(operation.ids))
    )


async def _shared(estate: Estate, operation: Operation) -> Ids:
    return await _ids(estate.attacker, estate.attacker.owner, operation)


async def _ids(tenant: Tenant, maker: ApiClient, operation: Operation) -> Ids:
    if operation in NAMED_IN_BODIES:
        # The last of them is what colleagues share; conversations are their member's alone.
        ids: Mapping[str, str] = await NAMED_IN_BODIES[operation][-1](tenant)
        return ids
    if operation.is_operators:
        return await tenant.operators_ids(operation)
    if operation in {CALL, ADD_ACCOUNT}:
        return await tenant.ids_of(operation)
    found: dict[str, str] = {}
    for parameter in operation.ids:
        if parameter == "conversation_id":
            found[parameter] = await tenant.conversation(maker)
        elif parameter == "result_id":
            found[parameter] = await tenant.result(maker)
        elif parameter == "approval_id":
            found[parameter] = await tenant.approval(maker)
        else:
            found |= await tenant.ids_for(parameter)
    return found


def _clients(estate: Estate) -> dict[str, ApiClient]:
    here = estate.attacker
    everybody = (here.owner, here.admin, here.analyst, here.viewer)
    return dict(zip(ACTORS, (*everybody, estate.service.operator, estate.nobody), strict=True))


async def _outcome(client: ApiClient, operation: Operation, ids: Ids) -> str:
    target = request_for(operation, ids)
    answer = await client.call(operation.method, target.path, **target.options)
    if answer.status in {200, 201, 204}:
        return "yes"
    # Any other status says that the request was wrong, so that it shows nothing.
    assert answer.status in _OUTCOMES, (str(operation), answer)
    return _OUTCOMES[answer.status]


def bodies_of_nothing() -> list[str]:
    """Bodies written down for operations that are not served any more."""
    served = {(operation.method, operation.path) for operation in served_operations()}
    return [f"{method} {path}" for method, path in BODIES if (method, path) not in served]
