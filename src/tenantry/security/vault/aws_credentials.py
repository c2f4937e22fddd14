"""Who we are at AWS: keys from the environment, or the ECS task or EKS pod that we run in.

Source: docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html.
"""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

from tenantry.core.clock import Clock
from tenantry.core.errors import StartupRefused, VaultUnavailable
from tenantry.security.vault.aws_signature import AwsCredentials
from tenantry.security.vault.key_service import KeyService, text_of

_TASKS = "http://169.254.170.2"
_RENEW = timedelta(minutes=5)


class AwsIdentity(Protocol):
    """Where credentials come from."""

    async def current(self) -> AwsCredentials:
        """Credentials that are valid now.

        Raises:
            VaultUnavailable: they cannot be had just now.
        """
        ...

    async def close(self) -> None:
        """Drop the connections."""
        ...


def aws_identity(environ: Mapping[str, str], clock: Clock) -> AwsIdentity:
    """The identity that the environment names, keys before containers, as AWS's own tools do.

    Raises:
        StartupRefused: it names none.
    """
    if environ.get("AWS_ACCESS_KEY_ID") and environ.get("AWS_SECRET_ACCESS_KEY"):
        return StaticIdentity(
            AwsCredentials(
                environ["AWS_ACCESS_KEY_ID"],
                environ["AWS_SECRET_ACCESS_KEY"],
                environ.get("AWS_SESSION_TOKEN", ""),
            )
        )
    relative = environ.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
    url = _TASKS + relative if relative else environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI", "")
    if not url:
        raise StartupRefused(
            "AWS KMS needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the credentials of the "
            "ECS task or EKS pod."
        )
    return ContainerIdentity(url, environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", ""), clock)


class StaticIdentity:
    """An identity that was given at the start."""

    def __init__(self, identity: AwsCredentials) -> None:
        self._identity = identity

    async def current(self) -> AwsCredentials:
        """It."""
        return self._identity

    async def close(self) -> None:
        """Nothing is open."""


class ContainerIdentity:
    """The identity of the ECS task or EKS pod this runs in, renewed before it expires."""

    def __init__(self, url: str, token_file: str, clock: Clock) -> None:
        # The machine's own agent, at a link-local address, answers by http only.
        self._service = KeyService(url, plain=True)
        self._token_file = token_file
        self._clock = clock
        self._identity: AwsCredentials | None = None
        self._renew_at: datetime | None = None

    async def current(self) -> AwsCredentials:
        """The identity, asked for anew five minutes before it expires.

        Raises:
            VaultUnavailable: the machine's agent does not answer.
        """
        if self._identity is None or self._renew_at is None or self._clock.now() >= self._renew_at:
            headers = {}
            if self._token_file:
                headers["Authorization"] = await asyncio.to_thread(self._read_token)
            answer = await self._service.call("GET", "", headers)
            self._identity = AwsCredentials(
                text_of(answer, "AccessKeyId"),
                text_of(answer, "SecretAccessKey"),
                text_of(answer, "Token"),
            )
            self._renew_at = _instant(text_of(answer, "Expiration"))
        return self._identity

    async def close(self) -> None:
        """Drop the connections."""
        await self._service.close()

    def _read_token(self) -> str:
        try:
            return Path(self._token_file).read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            raise VaultUnavailable from None


def _instant(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text).astimezone(UTC) - _RENEW
    except ValueError:
        raise VaultUnavailable from None
