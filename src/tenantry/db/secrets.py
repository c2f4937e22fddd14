"""The generated secrets of a deployment: role passwords and keys, in one file of mode 0600.

Written once by `tenantry migrate` (or the first start of the embedded database), read by every
process. Nothing in it is ever printed.
"""

import json
import os
import secrets
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from tenantry.core.errors import StartupRefused


@dataclass(frozen=True, slots=True)
class Secrets:
    """Every field is hex text of 256 random bits.

    Attributes:
        admin_password: superuser of the embedded PostgreSQL; unused with a database URL.
        app_password: role `tenantry_app`, which serves tenants under row-level security.
        auth_password: role `tenantry_auth`, which looks up credentials.
        audit_password: role `tenantry_audit`, which appends to the audit log.
        operator_password: role `tenantry_operator`, which keeps the tenant directory.
        breakglass_password: role `tenantry_breakglass`.
        ledger_password: role `tenantry_ledger`, which adds rows to the ledger.
        queue_password: role `tenantry_queue`, which takes jobs from the queue.
        signing_key: signs tenant contexts towards the database (DB-4).
        key_pepper: keys the hash of API keys, so that a stolen table cannot be searched.
        token_key: signs member tokens.
        audit_key: keys the digests of audit targets, since ids can be guessed.
        cursor_key: seals pagination cursors to their tenant.
    """

    admin_password: str = field(repr=False)
    app_password: str = field(repr=False)
    auth_password: str = field(repr=False)
    audit_password: str = field(repr=False)
    operator_password: str = field(repr=False)
    breakglass_password: str = field(repr=False)
    ledger_password: str = field(repr=False)
    queue_password: str = field(repr=False)
    signing_key: str = field(repr=False)
    key_pepper: str = field(repr=False)
    token_key: str = field(repr=False)
    audit_key: str = field(repr=False)
    cursor_key: str = field(repr=False)

    @classmethod
    def generate(cls) -> "Secrets":
        """Fresh secrets from the operating system's generator."""
        return cls(**{f.name: secrets.token_hex(32) for f in fields(cls)})

    @classmethod
    def read(cls, path: Path) -> "Secrets":
        """Read an existing file.

        Raises:
            StartupRefused: it is missing, readable by others, or incomplete.
        """
        try:
            mode = path.stat().st_mode & 0o777
        except OSError as error:
            raise StartupRefused(
                f"No secrets at {path}. Run `tenantry migrate` once, or set TENANTRY_SECRETS_FILE."
            ) from error
        if mode & 0o077:
            raise StartupRefused(f"{path} is readable by others. Run: chmod 600 {path}")
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise StartupRefused(f"{path} is not a complete secrets file.") from error

    @classmethod
    def read_or_create(cls, path: Path) -> "Secrets":
        """Read the file, or create it whole: never half-written, never by two processes."""
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(asdict(cls.generate()), file)
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(draft, path)  # fails if another process was first; then theirs counts
            except FileExistsError:
                pass
            finally:
                draft.unlink()
        return cls.read(path)
