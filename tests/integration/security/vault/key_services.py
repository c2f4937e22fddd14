"""Key services as the real ones answer on the wire: a transit engine, AWS KMS, Google Cloud KMS.

Each really encrypts, under versioned keys, bound to what the caller sends, and checks who calls.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from secrets import token_bytes
from typing import Any

from aiohttp import web
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tenantry.security.vault.aws_signature import (
    Audience,
    AwsCredentials,
    AwsRequest,
    signed_headers,
)

TOKEN = "hvs.token-of-the-test"
AWS_KEY = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
GCP_KEY = "projects/p/locations/europe-west3/keyRings/r/cryptoKeys/k"
IDENTITY = AwsCredentials("AKIDEXAMPLE", "secret-of-the-test")


@dataclass
class KeyServiceDouble:
    """What they share: versions of one key, a log of calls, and how to fail.

    Attributes:
        calls: path or verb of each call, in order.
        fail_with: a status to answer with, body and all, in place of what was asked for.
        reply: a whole body to answer with, as it is.
        during: what else happens while a call is under way, given its path.
    """

    versions: list[bytes] = field(default_factory=lambda: [token_bytes(32)])
    calls: list[str] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    fail_with: int = 0
    reply: bytes | None = None
    during: Callable[[str], Awaitable[None]] | None = None
    url: str = ""

    def rotate(self) -> None:
        """A new version wraps from now on."""
        self.versions.append(token_bytes(32))

    def encrypt(self, plaintext: bytes, context: bytes, bound_to: bytes) -> tuple[int, bytes]:
        """Version and ciphertext."""
        nonce, number = token_bytes(12), len(self.versions)
        return number, nonce + self._cipher(number, context).encrypt(nonce, plaintext, bound_to)

    def decrypt(self, number: int, sealed: bytes, context: bytes, bound_to: bytes) -> bytes | None:
        """The plaintext; None when it does not authenticate."""
        try:
            cipher = self._cipher(number, context)
            return cipher.decrypt(sealed[:12], sealed[12:], bound_to)
        except (InvalidTag, IndexError, ValueError):
            return None

    def _cipher(self, number: int, context: bytes) -> AESGCM:
        return AESGCM(HKDF(SHA256(), 32, None, context).derive(self.versions[number - 1]))


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def served(double: KeyServiceDouble, handle: Handler) -> AsyncIterator[None]:
    """The service on a free port of this machine; `double.url` is its address."""

    async def answer(request: web.Request) -> web.StreamResponse:
        double.calls.append(f"{request.method} {request.path}")
        double.headers.append(dict(request.headers))
        if double.during is not None:
            await double.during(request.path)
        if double.reply is not None:
            return web.Response(body=double.reply)
        if double.fail_with:
            text = f"refused: {TOKEN} {IDENTITY.secret}"  # a bad service repeats what it was sent
            return web.json_response({"errors": [text]}, status=double.fail_with)
        return await handle(request)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    double.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield
    finally:
        await runner.cleanup()


class Transit(KeyServiceDouble):
    """The transit engine at /v1/transit, with the derived key `tenantry`."""

    derived = True
    failure_status = 400

    async def handle(self, request: web.Request) -> web.Response:
        if request.headers.get("X-Vault-Token") != TOKEN:
            return web.json_response({"errors": ["permission denied"]}, status=403)
        verb = request.path.removeprefix("/v1/transit/")
        if verb == "keys/tenantry":
            data = {"latest_version": len(self.versions), "derived": self.derived, "keys": {}}
            return web.json_response({"data": data})
        sent = await request.json()
        if "context" not in sent:
            text = "missing 'context' for key derivation; the key was created using a derived key"
            return web.json_response({"errors": [text]}, status=400)
        context = b64decode(sent["context"])
        bound_to = b64decode(sent["associated_data"])
        if verb == "encrypt/tenantry":
            number, sealed = self.encrypt(b64decode(sent["plaintext"]), context, bound_to)
            text = f"vault:v{number}:{b64encode(sealed).decode()}"
            return web.json_response({"data": {"ciphertext": text, "key_version": number}})
        if verb == "decrypt/tenantry":
            _, version, text = sent["ciphertext"].split(":")
            plain = self.decrypt(int(version[1:]), b64decode(text), context, bound_to)
            if plain is not None:
                return web.json_response({"data": {"plaintext": b64encode(plain).decode()}})
            errors = ["cipher: message authentication failed"]
            return web.json_response({"errors": errors}, status=self.failure_status)
        return web.json_response({"errors": ["encryption key not found"]}, status=400)


class AwsKms(KeyServiceDouble):
    """KMS in one region, and the credentials service of a container."""

    async def handle(self, request: web.Request) -> web.Response:
        if request.path == "/credentials":
            return self._credentials(request)
        body = await request.read()
        if not self._is_signed(request, body):
            fault = {"__type": "com.amazonaws#IncompleteSignatureException"}
            return web.json_response(fault, status=400)
        sent = json.loads(body)
        if sent["KeyId"] != AWS_KEY:
            return web.json_response({"__type": "NotFoundException"}, status=400)
        bound_to = json.dumps(sent["EncryptionContext"], sort_keys=True).encode()
        if request.headers["X-Amz-Target"] == "TrentService.Encrypt":
            _, sealed = self.encrypt(b64decode(sent["Plaintext"]), b"", bound_to)
            return web.json_response({"CiphertextBlob": _text(sealed), "KeyId": AWS_KEY})
        plain = self.decrypt(1, b64decode(sent["CiphertextBlob"]), b"", bound_to)
        if plain is None:
            return web.json_response({"__type": "InvalidCiphertextException"}, status=400)
        return web.json_response({"Plaintext": _text(plain), "KeyId": AWS_KEY})

    def _credentials(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != "token of the pod":
            return web.json_response({}, status=401)
        ends = datetime.now(UTC) + timedelta(hours=1)
        return web.json_response(
            {
                "AccessKeyId": IDENTITY.key_id,
                "SecretAccessKey": IDENTITY.secret,
                "Token": "session-of-the-test",
                "Expiration": f"{ends:%Y-%m-%dT%H:%M:%SZ}",
            }
        )

    def _is_signed(self, request: web.Request, body: bytes) -> bool:
        sent = {name.lower(): value for name, value in request.headers.items()}
        moment = datetime.strptime(sent["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        names = ("host", "content-type", "x-amz-target")
        again = signed_headers(
            AwsRequest("POST", "/", {name: sent[name] for name in names}, body),
            AwsCredentials(IDENTITY.key_id, IDENTITY.secret, sent.get("x-amz-security-token", "")),
            Audience("eu-central-1", "kms"),
            moment,
        )
        return again["authorization"] == sent["authorization"]


class GcpKms(KeyServiceDouble):
    """Cloud KMS with one key, and the metadata server of a machine."""

    async def handle(self, request: web.Request) -> web.Response:
        if request.path.startswith("/computeMetadata/"):
            if request.headers.get("Metadata-Flavor") != "Google":
                return web.json_response({}, status=403)
            return web.json_response({"access_token": TOKEN, "expires_in": 3599})
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return web.json_response({"error": {"code": 401}}, status=401)
        path, _, verb = request.path.partition(":")
        if path != f"/v1/{GCP_KEY}":
            return web.json_response({"error": {"code": 404}}, status=404)
        if not verb:
            name = f"{GCP_KEY}/cryptoKeyVersions/{len(self.versions)}"
            return web.json_response({"name": GCP_KEY, "primary": {"name": name}})
        sent: dict[str, Any] = await request.json()
        bound_to = b64decode(sent["additionalAuthenticatedData"])
        if verb == "encrypt":
            number, sealed = self.encrypt(b64decode(sent["plaintext"]), b"", bound_to)
            blob = number.to_bytes(1) + sealed
            name = f"{GCP_KEY}/cryptoKeyVersions/{number}"
            return web.json_response({"name": name, "ciphertext": _text(blob)})
        blob = b64decode(sent["ciphertext"])
        plain = self.decrypt(blob[0], blob[1:], b"", bound_to)
        if plain is None:
            return web.json_response({"error": {"status": "INVALID_ARGUMENT"}}, status=400)
        return web.json_response({"plaintext": _text(plain)})


def _text(value: bytes) -> str:
    return b64encode(value).decode()
