"""Whether a provider takes a key: it is asked for its list of models, which costs nothing."""

from collections.abc import Sequence

import orjson

from tenantry.core.errors import AccountRefused, QueryFailed, QueryTimeout
from tenantry.core.secret import Secret
from tenantry.isolation.context import TenantContext
from tenantry.providers.accounts import key_headers
from tenantry.providers.providers_file import AccountEntry
from tenantry.security.egress.guard import EgressGuard
from tenantry.security.egress.messages import Allowance, EgressRequest, EgressResponse

_PATHS = {
    "openai_compatible": "/models",
    "anthropic": "/v1/models?limit=1000",
    "google": "/v1beta/models?pageSize=1000",
}
_ALLOWANCE = Allowance(max_redirects=0, max_bytes=4 << 20, timeout_s=15.0)
_NO_LIST = frozenset({404, 405, 501})


async def try_login(
    ctx: TenantContext, guard: EgressGuard, entry: AccountEntry, key: Secret
) -> Sequence[str]:
    """What could be safer or may be wrong of an account that was reached with this key.

    Raises:
        EgressRefused: its address may not be reached; recorded.
        AccountRefused: it does not answer, or does not take the key; says which.
    """
    headers = key_headers(entry, key.reveal())
    request = EgressRequest("GET", entry.url + _PATHS[entry.kind], headers)
    try:
        answer = await guard.fetch(ctx, "provider_account", request, _ALLOWANCE)
    except (QueryFailed, QueryTimeout) as error:
        told = error.message.replace("The source", "It")
        raise AccountRefused(f"The model provider could not be reached. {told}") from None
    if answer.status in {401, 403}:
        raise AccountRefused(f"The model provider refused the key (HTTP {answer.status}).")
    warnings = []
    if entry.url.startswith("http:"):
        warnings.append("The key is sent unencrypted: this base URL is not https.")
    if answer.status in _NO_LIST:
        return [*warnings, "The provider lists no models, so the key was not tried."]
    if answer.status != 200:
        raise AccountRefused(f"The model provider did not answer as one (HTTP {answer.status}).")
    known = _listed(answer)
    missing = [m.name for m in entry.models if known and m.upstream_name not in known]
    return [*warnings, *(f"The provider does not list the model {name}." for name in missing[:20])]


def _listed(answer: EgressResponse) -> frozenset[str]:
    """Names in the provider's list of models; none when it cannot be read."""
    try:
        found = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        raise AccountRefused("The model provider did not answer as one (no JSON).") from None
    if not isinstance(found, dict):
        return frozenset()
    listed = found.get("data", found.get("models"))
    names = [
        str(each.get("id") or each.get("name") or "").removeprefix("models/")
        for each in (listed if isinstance(listed, list) else ())
        if isinstance(each, dict)
    ]
    return frozenset(names)
