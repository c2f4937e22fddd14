"""AWS KMS as keeper of the key-encryption key, through its JSON API.

A data key is bound to its tenant and version as encryption context, which CloudTrail shows as well.
Only the configured key opens: AWS would take any key that a ciphertext names, an attacker's too.
Source: docs.aws.amazon.com/kms/latest/APIReference.
"""

import binascii
import json
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any

from tenantry.core.clock import Clock
from tenantry.core.errors import SecretUnreadable, StartupRefused, VaultUnavailable
from tenantry.security.vault.aws_credentials import aws_identity
from tenantry.security.vault.aws_signature import Audience, AwsRequest, signed_headers
from tenantry.security.vault.key_service import Answer, KeyService, text_of
from tenantry.security.vault.keys import KeyBinding, Wrapped

_ARN = re.compile(r"arn:(aws[a-z-]*):kms:([a-z0-9-]+):[0-9]{12}:key/[A-Za-z0-9-]+")
_UNREADABLE = frozenset({"InvalidCiphertextException", "IncorrectKeyException"})


class AwsKeys:
    """`KeyEncryption` over one symmetric key; AWS rotates what is behind its ARN by itself."""

    def __init__(self, arn: str, environ: Mapping[str, str], clock: Clock) -> None:
        """Nothing is sent yet.

        Args:
            arn: `arn:aws:kms:region:account:key/id`; no alias, for an alias can be moved.
            environ: credentials, `AWS_ENDPOINT_URL_KMS`, as AWS's own tools read them.
            clock: for signatures, and the life of a task's credentials.

        Raises:
            StartupRefused: the ARN is not a key's, or there are no credentials.
        """
        found = _ARN.fullmatch(arn)
        if found is None:
            raise StartupRefused("A key of AWS KMS is arn:aws:kms:region:account:key/id.")
        domain = "amazonaws.com.cn" if found[1] == "aws-cn" else "amazonaws.com"
        endpoint = environ.get("AWS_ENDPOINT_URL_KMS", f"https://kms.{found[2]}.{domain}")
        self._service = KeyService(endpoint)
        self._audience = Audience(found[2], "kms")
        self._arn = arn
        self._by = f"aws-kms:{arn}"
        self._clock = clock
        self._credentials = aws_identity(environ, clock)

    def __repr__(self) -> str:
        return f"AwsKeys({self._arn!r})"

    def holds(self, by: str) -> bool:
        """Whether this key wrapped it."""
        return by == self._by

    async def current(self) -> str:
        """The key: what AWS rotates behind it does not show."""
        return self._by

    async def wrap(self, key: bytes, binding: KeyBinding) -> Wrapped:
        """The data key, wrapped; see `KeyEncryption.wrap`."""
        answer = await self._call("Encrypt", "Plaintext", key, binding)
        return Wrapped(_bytes(answer, "CiphertextBlob"), self._by)

    async def unwrap(self, wrapped: Wrapped, binding: KeyBinding) -> bytes:
        """The data key again; see `KeyEncryption.unwrap`."""
        answer = await self._call("Decrypt", "CiphertextBlob", wrapped.blob, binding)
        if answer.status == 400 and _fault(answer) in _UNREADABLE:
            raise SecretUnreadable
        return _bytes(answer, "Plaintext")

    async def close(self) -> None:
        """Drop the connections."""
        await self._service.close()
        await self._credentials.close()

    async def _call(self, verb: str, name: str, value: bytes, binding: KeyBinding) -> Answer:
        sent: dict[str, Any] = {
            "KeyId": self._arn,
            name: b64encode(value).decode(),
            "EncryptionContext": {
                "tenantry:tenant": str(binding.tenant),
                "tenantry:key_version": str(binding.version),
            },
        }
        base = self._service.base
        headers = {
            "host": base.authority if base.explicit_port else str(base.host),
            "content-type": "application/x-amz-json-1.1",
            "x-amz-target": f"TrentService.{verb}",
        }
        request = AwsRequest("POST", "/", headers, json.dumps(sent).encode())
        identity = await self._credentials.current()
        signed = signed_headers(request, identity, self._audience, self._clock.now())
        return await self._service.call("POST", "/", signed, request.body)


def _fault(answer: Answer) -> str:
    return str(answer.body.get("__type", "")).rpartition("#")[2]


def _bytes(answer: Answer, name: str) -> bytes:
    if answer.status != 200:
        raise VaultUnavailable
    try:
        return b64decode(text_of(answer, name), validate=True)
    except binascii.Error:
        raise VaultUnavailable from None
