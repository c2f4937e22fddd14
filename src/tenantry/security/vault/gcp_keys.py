"""Google Cloud KMS as keeper of the key-encryption key, through its REST API.

A data key is bound to its tenant and version as additional authenticated data. Signs in as the
machine's or pod's service account (metadata server, workload identity).
Source: cloud.google.com/kms/docs/reference/rest, cloud.google.com/compute/docs/metadata.
"""

import binascii
import json
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any

from tenantry.core.clock import Clock
from tenantry.core.errors import SecretUnreadable, StartupRefused, VaultUnavailable
from tenantry.security.vault.key_service import Answer, KeyService, text_of
from tenantry.security.vault.keys import KeyBinding, Wrapped

_KEY = re.compile(r"projects/[^/#?]+/locations/[^/#?]+/keyRings/[\w-]+/cryptoKeys/[\w-]+")
_VERSION = re.compile(r"/cryptoKeyVersions/([0-9]{1,9})")
_TOKEN = "/computeMetadata/v1/instance/service-accounts/default/token"  # noqa: S105 - a path
_RENEW_S = 60.0


class GcpKeys:
    """`KeyEncryption` over one symmetric key; Google rotates its versions on a schedule."""

    def __init__(self, name: str, environ: Mapping[str, str], clock: Clock) -> None:
        """Nothing is sent yet.

        Args:
            name: `projects/…/locations/…/keyRings/…/cryptoKeys/…`.
            environ: `GCE_METADATA_HOST` and `CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDKMS`, as Google's
                own tools read them; neither is needed in Google's cloud.
            clock: for the life of access tokens.

        Raises:
            StartupRefused: the name is not a key's.
        """
        if not _KEY.fullmatch(name):
            raise StartupRefused("A key of Google Cloud KMS is projects/…/cryptoKeys/….")
        endpoint = environ.get("CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDKMS")
        metadata = environ.get("GCE_METADATA_HOST", "metadata.google.internal")
        self._service = KeyService(endpoint or "https://cloudkms.googleapis.com")
        # Link-local, never routed; Google offers it by http only.
        self._metadata = KeyService(f"http://{metadata}", plain=True)
        self._name = name
        self._prefix = f"gcp-kms:{name}:"
        self._clock = clock
        self._token = ""
        self._token_ends = 0.0

    def __repr__(self) -> str:
        return f"GcpKeys({self._name!r})"

    def holds(self, by: str) -> bool:
        """Whether a version of this key wrapped it."""
        return by.startswith(self._prefix)

    async def current(self) -> str:
        """The primary version of the key.

        Raises:
            VaultUnavailable: the service does not answer, or does not let us.
        """
        answer = await self._call("GET", "", None)
        return self._by(answer, "primary", "name")

    async def wrap(self, key: bytes, binding: KeyBinding) -> Wrapped:
        """The data key, wrapped by the primary version; see `KeyEncryption.wrap`."""
        body = {"plaintext": _text(key), "additionalAuthenticatedData": _text(binding.encoded())}
        answer = await self._call("POST", ":encrypt", body)
        return Wrapped(_bytes(answer, "ciphertext"), self._by(answer, "name"))

    async def unwrap(self, wrapped: Wrapped, binding: KeyBinding) -> bytes:
        """The data key again; see `KeyEncryption.unwrap`."""
        body = {
            "ciphertext": _text(wrapped.blob),
            "additionalAuthenticatedData": _text(binding.encoded()),
        }
        answer = await self._call("POST", ":decrypt", body)
        if answer.status == 400:  # INVALID_ARGUMENT: it does not authenticate
            raise SecretUnreadable
        return _bytes(answer, "plaintext")

    async def close(self) -> None:
        """Drop the connections."""
        await self._service.close()
        await self._metadata.close()

    async def _call(self, method: str, verb: str, body: Mapping[str, Any] | None) -> Answer:
        headers = {"Authorization": f"Bearer {await self._access_token()}"}
        sent = None if body is None else json.dumps(body).encode()
        if sent is not None:
            headers["Content-Type"] = "application/json"
        return await self._service.call(method, f"/v1/{self._name}{verb}", headers, sent)

    async def _access_token(self) -> str:
        if self._clock.monotonic() >= self._token_ends:
            answer = await self._metadata.call("GET", _TOKEN, {"Metadata-Flavor": "Google"})
            self._token = text_of(answer, "access_token")
            life_s = answer.body.get("expires_in")
            lasts = life_s if isinstance(life_s, int) else 0
            self._token_ends = self._clock.monotonic() + max(lasts - _RENEW_S, 0.0)
        return self._token

    def _by(self, answer: Answer, *path: str) -> str:
        found = _VERSION.search(text_of(answer, *path))
        if answer.status != 200 or found is None:
            raise VaultUnavailable
        return f"{self._prefix}v{found[1]}"


def _text(value: bytes) -> str:
    return b64encode(value).decode()


def _bytes(answer: Answer, name: str) -> bytes:
    if answer.status != 200:
        raise VaultUnavailable
    try:
        return b64decode(text_of(answer, name), validate=True)
    except binascii.Error:
        raise VaultUnavailable from None
