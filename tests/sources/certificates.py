"""A certificate authority that lives as long as a test, for servers that speak TLS."""

import datetime
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_KEY = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()


@dataclass(frozen=True, slots=True)
class Authority:
    """An authority: its certificate as PEM text, and its key."""

    certificate: str
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def create(cls) -> "Authority":
        """A new authority that nobody else knows."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name("Tenantry tests")
        signed = (
            _begun(name, name, key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(key, hashes.SHA256())
        )
        return cls(signed.public_bytes(serialization.Encoding.PEM).decode(), key)

    def issue(self, host: str, certificate: Path, key: Path) -> None:
        """Write a certificate for `host`, and its key."""
        own = ec.generate_private_key(ec.SECP256R1())
        issuer = x509.load_pem_x509_certificate(self.certificate.encode()).subject
        signed = (
            _begun(_name(host), issuer, own)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        key.write_bytes(own.private_bytes(*_KEY))
        key.chmod(0o600)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _begun(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=1))
    )
