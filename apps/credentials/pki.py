"""X.509 as pure functions on PEM: no database, no settings, no clock of its own.

Certificates follow RFC 5280: an authority may sign leaf certificates only (path length 0), leaves say what they are for, and both carry
key identifiers, which strict verifiers insist on. Curve P-256 is the one every TLS library of the last decade speaks.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

BACKDATED = timedelta(minutes=5)
"""How far a certificate's validity starts in the past: hosts and laptops whose clocks are behind accept it at once."""

_COMMON_NAME_LIMIT = 64
"""ub-common-name of RFC 5280; the portal's longer names are cut, since nothing but people reads them."""


@dataclass(frozen=True, kw_only=True)
class AuthorityPem:
    """A certificate authority with its private key."""

    certificate_pem: bytes
    key_pem: bytes = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True, kw_only=True)
class Issued:
    """A leaf certificate. `key_pem` is None when the key was made by whoever sent the request; `serial` is lower-case hex."""

    certificate_pem: bytes
    key_pem: bytes | None = field(repr=False)
    serial: str
    not_before: datetime
    expires_at: datetime


class Signer:
    """An authority that was read once and signs many certificates."""

    def __init__(self, *, certificate_pem: bytes, key_pem: bytes) -> None:
        """Read both PEM texts; raises ValueError when they are not an EC key and its certificate."""
        key = serialization.load_pem_private_key(key_pem, password=None)
        self._certificate = x509.load_pem_x509_certificate(certificate_pem)
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != self._certificate.public_key():
            raise ValueError("The key does not belong to the authority's certificate.")
        self._key = key

    def issue_server(self, *, hostname: str, dns_names: Sequence[str], addresses: Sequence[str], now: datetime) -> Issued:
        """Return a server certificate for `hostname`, `dns_names` and `addresses` and this machine's own loop-back names.

        It can only serve: the key that lies on a host opens no other host. It lives as long as its authority, since nothing renews it
        before the authority itself is replaced. Raises ValueError for an address that is none.
        """
        names = [x509.DNSName(name) for name in dict.fromkeys([hostname, *dns_names, "localhost"])]
        ips = [x509.IPAddress(ip_address(address)) for address in dict.fromkeys([*addresses, "127.0.0.1"])]
        key = ec.generate_private_key(ec.SECP256R1())
        return self._sign(
            subject=_name(common_name=hostname),
            public_key=key.public_key(),
            private_key=key,
            purpose=ExtendedKeyUsageOID.SERVER_AUTH,
            alternative_names=x509.SubjectAlternativeName([*names, *ips]),
            now=now,
            lifetime=None,
        )

    def issue_client(
        self,
        *,
        common_name: str,
        organisation: str,
        now: datetime,
        lifetime: timedelta,
        public_key: CertificatePublicKeyTypes | None = None,
    ) -> Issued:
        """Return a client certificate for `public_key`, or for a new key that is returned too; it never outlives its authority."""
        key = None if public_key else ec.generate_private_key(ec.SECP256R1())
        return self._sign(
            subject=_name(common_name=common_name, organisation=organisation),
            public_key=public_key or (key.public_key() if key else None),
            private_key=key,
            purpose=ExtendedKeyUsageOID.CLIENT_AUTH,
            alternative_names=None,
            now=now,
            lifetime=lifetime,
        )

    def _sign(
        self,
        *,
        subject: x509.Name,
        public_key: CertificatePublicKeyTypes | None,
        private_key: ec.EllipticCurvePrivateKey | None,
        purpose: ObjectIdentifier,
        alternative_names: x509.SubjectAlternativeName | None,
        now: datetime,
        lifetime: timedelta | None,
    ) -> Issued:
        if public_key is None:
            raise ValueError("A certificate needs a public key.")
        limit = self._certificate.not_valid_after_utc
        expires_at = limit if lifetime is None else min(now + lifetime, limit)
        serial = x509.random_serial_number()
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._certificate.subject)
            .public_key(public_key)
            .serial_number(serial)
            .not_valid_before(now - BACKDATED)
            .not_valid_after(expires_at)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if alternative_names is not None:
            builder = builder.add_extension(alternative_names, critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        return Issued(
            certificate_pem=certificate.public_bytes(serialization.Encoding.PEM),
            key_pem=_key_pem(private_key) if private_key else None,
            serial=f"{serial:x}",
            not_before=certificate.not_valid_before_utc,
            expires_at=certificate.not_valid_after_utc,
        )


def new_authority(*, name: str, now: datetime, lifetime: timedelta) -> AuthorityPem:
    """Return a new self-signed EC P-256 authority that may sign leaf certificates and nothing below them."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(common_name=name)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + lifetime)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return AuthorityPem(
        certificate_pem=certificate.public_bytes(serialization.Encoding.PEM),
        key_pem=_key_pem(key),
        expires_at=certificate.not_valid_after_utc,
    )


def _name(*, common_name: str, organisation: str = "") -> x509.Name:
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, common_name[:_COMMON_NAME_LIMIT])]
    if organisation:
        parts.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation))
    return x509.Name(parts)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _key_pem(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
