"""The transit engine of HashiCorp Vault or OpenBao as keeper of the key-encryption key.

A data key's wrapping is derived for its tenant (`context`) and bound to its version
(`associated_data`). Signs in with a token: `VAULT_TOKEN`, or the file `VAULT_TOKEN_FILE` that Vault
Agent keeps fresh, read at each call. Source: developer.hashicorp.com/vault/api-docs/secret/transit.
"""

import asyncio
import binascii
import json
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tenantry.core.errors import SecretUnreadable, StartupRefused, VaultUnavailable
from tenantry.security.vault.key_service import Answer, KeyService, text_of
from tenantry.security.vault.keys import KeyBinding, Wrapped

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_CIPHERTEXT = re.compile(r"vault:(v[0-9]{1,9}):[A-Za-z0-9+/=]+")


class TransitKeys:
    """`KeyEncryption` over one derived key of a transit engine."""

    def __init__(self, address: str, environ: Mapping[str, str]) -> None:
        """Nothing is sent yet.

        Args:
            address: `https://host/v1/transit#key`: the engine's mount and the key's name.
            environ: `VAULT_TOKEN` or `VAULT_TOKEN_FILE`; `VAULT_NAMESPACE`, `VAULT_CACERT`.

        Raises:
            StartupRefused: the address is not one, or there is no token.
        """
        url, _, name = address.partition("#")
        if not _NAME.fullmatch(name):
            raise StartupRefused("The vault's transit address is https://host/v1/mount#key.")
        self._service = KeyService(url, environ.get("VAULT_CACERT", ""))
        self._name = name
        self._prefix = f"vault-transit:{self._service.base.path.strip('/')}#{name}:"
        self._token = environ.get("VAULT_TOKEN", "")
        self._token_file = environ.get("VAULT_TOKEN_FILE", "")
        self._namespace = environ.get("VAULT_NAMESPACE", "")
        if not (self._token or self._token_file):
            raise StartupRefused("Set VAULT_TOKEN or VAULT_TOKEN_FILE for the transit engine.")

    def __repr__(self) -> str:
        return f"TransitKeys({self._prefix!r})"

    def holds(self, by: str) -> bool:
        """Whether a version of this key wrapped it."""
        return by.startswith(self._prefix)

    async def current(self) -> str:
        """The newest version of the key; needs leave to read it.

        Raises:
            VaultUnavailable: the engine does not answer, or the key is not made as it must be.
        """
        answer = await self._call("GET", f"/keys/{self._name}", None)
        data = answer.body.get("data") if answer.status == 200 else None
        if not isinstance(data, Mapping) or not isinstance(data.get("latest_version"), int):
            raise VaultUnavailable
        if data.get("derived") is not True:
            raise VaultUnavailable(f"The transit key {self._name} must be made with derived=true.")
        return f"{self._prefix}v{data['latest_version']}"

    async def wrap(self, key: bytes, binding: KeyBinding) -> Wrapped:
        """The data key, wrapped by the newest version; see `KeyEncryption.wrap`."""
        body = {"plaintext": b64encode(key).decode(), **_bound_to(binding)}
        answer = await self._call("POST", f"/encrypt/{self._name}", body)
        if answer.status != 200:
            raise VaultUnavailable
        text = text_of(answer, "data", "ciphertext")
        found = _CIPHERTEXT.fullmatch(text)
        if found is None:
            raise VaultUnavailable
        return Wrapped(text.encode(), self._prefix + found[1])

    async def unwrap(self, wrapped: Wrapped, binding: KeyBinding) -> bytes:
        """The data key again; see `KeyEncryption.unwrap`."""
        text = wrapped.blob.decode("ascii", "replace")
        found = _CIPHERTEXT.fullmatch(text)
        if found is None or wrapped.by != self._prefix + found[1]:
            raise SecretUnreadable
        body = {"ciphertext": text, **_bound_to(binding)}
        answer = await self._call("POST", f"/decrypt/{self._name}", body)
        if answer.status != 200:
            raise _refusal(answer)
        try:
            return b64decode(text_of(answer, "data", "plaintext"), validate=True)
        except binascii.Error:
            raise VaultUnavailable from None

    async def close(self) -> None:
        """Drop the connections."""
        await self._service.close()

    async def _call(self, method: str, path: str, body: Mapping[str, Any] | None) -> Answer:
        token = await asyncio.to_thread(self._read_token) if self._token_file else self._token
        headers = {"X-Vault-Token": token, "X-Vault-Request": "true"}
        if self._namespace:
            headers["X-Vault-Namespace"] = self._namespace
        sent = None if body is None else json.dumps(body).encode()
        return await self._service.call(method, path, headers, sent)

    def _read_token(self) -> str:
        try:
            return Path(self._token_file).read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            raise VaultUnavailable from None


def _refusal(answer: Answer) -> SecretUnreadable | VaultUnavailable:
    """Why the engine did not decrypt; some versions answer 500 to what does not authenticate."""
    errors = str(answer.body.get("errors", ""))
    is_changed = "message authentication failed" in errors or "unable to decrypt" in errors
    if is_changed or (answer.status == 400 and "not found" not in errors):
        return SecretUnreadable()
    return VaultUnavailable()


def _bound_to(binding: KeyBinding) -> dict[str, str]:
    return {
        "context": b64encode(str(binding.tenant).encode()).decode(),
        "associated_data": b64encode(binding.encoded()).decode(),
    }
