"""Credentials of a bay for its people: the bundle, signed requests, and the list of what was issued."""

from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from apps.audit.services import record
from apps.bays.models import Bay
from apps.bays.selectors import get_bay
from apps.coes.base import Notice, load_coe
from apps.common.errors import Conflict, InvalidInput
from apps.credentials.bundles import build_zip
from apps.credentials.models import Certificate, CertificateAuthority
from apps.credentials.services import IssuedClient, issue_client_certificate
from apps.tenants.context import Access
from apps.tenants.roles import Permission

LABEL_LENGTH = 80


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A credential zip at the only moment its key exists here."""

    file_name: str
    content: bytes
    certificate_id: UUID


def issue_bundle(*, access: Access, reference: str, label: str = "") -> Bundle:
    """Issue a client certificate to the asker and return the zip with which native clients use the bay.

    Raises Conflict while the bay has no endpoint yet or is being deleted.
    """
    bay = _bay_with_endpoint(access=access, reference=reference)
    coe = load_coe(name=bay.coe)
    issued = _issue(access=access, bay=bay, label=label, csr_pem=None)
    texts = coe.bundle_files(
        bay=bay.name, endpoint=bay.endpoint, version=bay.coe_version, notices=notices_of(bay=bay), expires_at=issued.record.expires_at
    )
    pems = {"ca.pem": issued.ca_pem, "cert.pem": issued.certificate_pem, "key.pem": issued.key_pem or b""}
    return Bundle(file_name=f"{bay.name}.zip", content=build_zip(bay=bay.name, files={**pems, **texts}), certificate_id=issued.record.id)


def sign_request(*, access: Access, reference: str, csr_pem: object, label: str = "") -> IssuedClient:
    """Certify the asker's own key, so that it never leaves them. Raises InvalidInput for a request that is not accepted."""
    access.require(Permission.BAY_ACCESS)
    if not isinstance(csr_pem, str) or not csr_pem.strip():
        raise InvalidInput.field("csr", "Send the certificate signing request as PEM text in the field “csr”.", code="csr_missing")
    bay = _bay_with_endpoint(access=access, reference=reference)
    return _issue(access=access, bay=bay, label=label, csr_pem=csr_pem)


def authority_pem(*, access: Access, reference: str) -> bytes:
    """Return what `ca.pem` holds: the public certificate of the bay's authority. Raises Conflict before it is made.

    While the authority is being replaced, it holds that of the next one, too: hosts may serve with certificates of either.
    """
    bay = get_bay(access=access, reference=reference)
    if bay.authority is None:
        raise Conflict(f"The bay {bay.name} has no certificate authority yet; wait a second.", code="bay_not_ready")
    return _trusted(bay=bay, authority=bay.authority)


def client_certificates(*, access: Access, reference: str) -> QuerySet[Certificate]:
    """Return the client certificates issued for the bay, newest first, whoever owns them."""
    bay = get_bay(access=access, reference=reference)
    return Certificate.objects.filter(authority_id=bay.authority_id, purpose=Certificate.Purpose.CLIENT).order_by("-issued_at", "-id")


def notices_of(*, bay: Bay) -> list[Notice]:
    """Return what users of the bay must know about the cloud it is on."""
    return load_coe(name=bay.coe).notices(limitations=bay.cloud.limitations)


def _bay_with_endpoint(*, access: Access, reference: str) -> Bay:
    bay = get_bay(access=access, reference=reference)
    access.require(Permission.BAY_ACCESS)
    if bay.delete_requested_at is not None:
        raise Conflict(f"The bay {bay.name} is being deleted; there is nothing left to have access to.", code="already_deleting")
    if not bay.endpoint:
        raise Conflict(f"The bay {bay.name} is not ready yet (status {bay.status}); ask again when it is active.", code="bay_not_ready")
    if bay.next_authority_id is not None and bay.busy:
        raise Conflict(f"The certificate authority of {bay.name} is being replaced; try again in a moment.", code="bay_busy")
    return bay


def _trusted(*, bay: Bay, authority: CertificateAuthority) -> bytes:
    return authority.certificate + (bay.next_authority.certificate if bay.next_authority else b"")


@transaction.atomic
def _issue(*, access: Access, bay: Bay, label: str, csr_pem: str | None) -> IssuedClient:
    label = " ".join(label.split())
    if len(label) > LABEL_LENGTH or not label.isprintable():
        raise InvalidInput.field("label", f"The label may have at most {LABEL_LENGTH} printable characters.")
    authority = CertificateAuthority.objects.get(bay=bay)
    issued = issue_client_certificate(
        authority=authority, owner=access.user, label=label, lifetime=timedelta(days=settings.CLIENT_CERTIFICATE_DAYS), csr_pem=csr_pem
    )
    record(
        by=access.actor,
        action="certificate.issued",
        sentence=f"obtained credentials for the bay {bay.name}",
        tenant_id=bay.tenant_id,
        target_id=str(bay.id),
        target_label=bay.name,
        data={"serial": issued.record.serial, "expires_at": issued.record.expires_at.isoformat()},
    )
    return replace(issued, ca_pem=_trusted(bay=bay, authority=authority))
