"""Authorities and certificates of bays. Keys of authorities leave the vault only for the length of a call; client keys are never kept."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from django.conf import settings

from apps.accounts.models import User
from apps.common.clock import now as current_time
from apps.credentials import vault
from apps.credentials.csr import read_csr
from apps.credentials.models import Certificate, CertificateAuthority
from apps.credentials.pki import Issued, Signer, new_authority
from apps.tenants.models import Tenant

AUTHORITY_LIFETIME = timedelta(days=3650)
"""Ten years: a bay's certificates of hosts live as long, and the authority is replaced by rotating it, not by waiting."""

PORTAL_LIFETIME = timedelta(hours=1)
"""Long enough for any single operation; a leaked one is worthless the same day."""

ADMINS = "carina:admins"
"""The organisation in client certificates; cluster engines that know groups give this one every right in the bay."""


@dataclass(frozen=True, kw_only=True)
class IssuedIdentity:
    """A certificate with its key and the authority that signed it, for a host or for the portal itself. Not stored anywhere."""

    ca_pem: bytes
    certificate_pem: bytes
    key_pem: bytes = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True, kw_only=True)
class IssuedClient:
    """A person's certificate with its record. `key_pem` is None when they sent a signing request; otherwise this is its only copy."""

    record: Certificate
    ca_pem: bytes
    certificate_pem: bytes
    key_pem: bytes | None = field(repr=False)


def authority_context(*, authority_id: UUID) -> str:
    """Return the vault context an authority's key is bound to."""
    return f"bay-ca:{authority_id.hex}"


def create_authority(*, tenant: Tenant, name: str) -> CertificateAuthority:
    """Create and return a new authority for a bay; `name` is what certificates show as their issuer."""
    at = current_time()
    authority_id = uuid4()
    pem = new_authority(name=name, now=at, lifetime=AUTHORITY_LIFETIME)
    return CertificateAuthority.objects.create(
        id=authority_id,
        tenant=tenant,
        name=name,
        certificate_pem=pem.certificate_pem.decode(),
        key_encrypted=vault.encrypt(plaintext=pem.key_pem, context=authority_context(authority_id=authority_id)),
        created_at=at,
        expires_at=pem.expires_at,
    )


def retire_authority(*, authority: CertificateAuthority) -> None:
    """Note that nothing accepts the authority's certificates any more, and destroy its key: it never signs again."""
    authority.certificates.filter(revoked_at=None).update(revoked_at=current_time())
    authority.key_encrypted = ""
    authority.save(update_fields=["key_encrypted"])


def issue_server_certificate(
    *, authority: CertificateAuthority, hostname: str, dns_names: Sequence[str] = (), addresses: Sequence[str] = ()
) -> IssuedIdentity:
    """Return a new certificate and key for a host that is reached by `hostname`, `dns_names` and `addresses` (IP texts).

    The certificate is recorded in place of the host's previous one; its key is not. Raises ValueError for an address that is none.
    """
    issued = _signer(authority).issue_server(hostname=hostname, dns_names=dns_names, addresses=addresses, now=current_time())
    Certificate.objects.filter(authority=authority, purpose=Certificate.Purpose.SERVER, subject=hostname).delete()
    _record(authority=authority, issued=issued, purpose=Certificate.Purpose.SERVER, subject=hostname, owner=None, owner_label="")
    return _identity(authority=authority, issued=issued)


def portal_identity(*, authority: CertificateAuthority) -> IssuedIdentity:
    """Return a client certificate for the portal itself, good for one hour and for this bay alone. Nothing is recorded."""
    return _identity(
        authority=authority,
        issued=_signer(authority).issue_client(
            common_name="carina-portal", organisation=ADMINS, now=current_time(), lifetime=PORTAL_LIFETIME
        ),
    )


def issue_client_certificate(
    *,
    authority: CertificateAuthority,
    owner: User,
    label: str = "",
    lifetime: timedelta | None = None,
    csr_pem: str | None = None,
) -> IssuedClient:
    """Issue and record a client certificate for `owner`, by default for CLIENT_CERTIFICATE_DAYS.

    With `csr_pem` the owner's own key is certified and only its public half is seen here; raises CsrRejected for one that is not
    accepted. Without, a key is made, returned once and forgotten. `label` says in lists what it is for; empty: the owner's address.
    """
    public_key = read_csr(csr_pem=csr_pem) if csr_pem is not None else None
    issued = _signer(authority).issue_client(
        common_name=owner.email,
        organisation=ADMINS,
        now=current_time(),
        lifetime=lifetime or timedelta(days=settings.CLIENT_CERTIFICATE_DAYS),
        public_key=public_key,
    )
    record = _record(
        authority=authority,
        issued=issued,
        purpose=Certificate.Purpose.CLIENT,
        subject=f"O={ADMINS}, CN={owner.email}",
        owner=owner,
        owner_label=label or owner.email,
    )
    return IssuedClient(record=record, ca_pem=authority.certificate, certificate_pem=issued.certificate_pem, key_pem=issued.key_pem)


def _signer(authority: CertificateAuthority) -> Signer:
    key_pem = vault.decrypt(token=authority.key_encrypted, context=authority_context(authority_id=authority.id))
    return Signer(certificate_pem=authority.certificate, key_pem=key_pem)


def _identity(*, authority: CertificateAuthority, issued: Issued) -> IssuedIdentity:
    if issued.key_pem is None:
        raise ValueError("The certificate was issued without its key.")
    return IssuedIdentity(
        ca_pem=authority.certificate, certificate_pem=issued.certificate_pem, key_pem=issued.key_pem, expires_at=issued.expires_at
    )


def _record(
    *, authority: CertificateAuthority, issued: Issued, purpose: Certificate.Purpose, subject: str, owner: User | None, owner_label: str
) -> Certificate:
    return Certificate.objects.create(
        tenant_id=authority.tenant_id,
        authority=authority,
        serial=issued.serial,
        purpose=purpose,
        subject=subject,
        owner=owner,
        owner_label=owner_label,
        issued_at=current_time(),
        expires_at=issued.expires_at,
    )
