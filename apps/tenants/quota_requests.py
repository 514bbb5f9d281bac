"""Wishes for higher limits: asked for by a tenant, approved at once where they are small, else decided by an operator of the portal."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.core.mail import EmailMessage
from django.db import transaction
from django.db.models import QuerySet
from django.template.loader import render_to_string
from django.urls import reverse

from apps.accounts.models import User
from apps.audit.services import Actor, record
from apps.common.clock import now
from apps.common.errors import Conflict, InvalidInput, NotFound
from apps.common.scope import as_system
from apps.tenants.context import Access
from apps.tenants.limits import LIMITS, change_limits, in_words, limits_of, parse_limits, require_operator
from apps.tenants.models import Membership, QuotaRequest, Tenant
from apps.tenants.roles import Permission, Role
from apps.tenants.services import lock_tenant

log = structlog.get_logger(__name__)
LONGEST_TEXT = 1000
SELF_APPROVAL_EVERY = timedelta(days=30)
ITSELF = Actor.system("quota")
"""Who decides about requests that approve themselves."""


def request_quota(*, access: Access, wanted: Mapping[str, object], reason: str) -> QuotaRequest:
    """Ask for higher limits (by the names of the tenant's columns; those not named stay) and return the request.

    It is approved at once up to settings.QUOTA_SELF_APPROVED times the limits of a new tenant, once in 30 days; otherwise it is open
    until an operator decides, and needs a reason. Raises InvalidInput where nothing is more than now, Conflict while one is open.
    """
    access.require(Permission.TENANT_MANAGE)
    checked = parse_limits(values=wanted)
    reason = _text(field="reason", value=reason)
    with transaction.atomic():
        tenant = lock_tenant(tenant_id=access.tenant.id)
        more = _more(tenant=tenant, wanted=checked)
        if tenant.quota_requests.filter(state=QuotaRequest.State.OPEN).exists():
            raise Conflict(
                f"{tenant.name} has asked already and waits for an answer; withdraw that request to ask for something else.",
                code="quota_request_open",
            )
        next_at = self_approval_again_at(tenant=tenant)
        by_itself = _is_small(wanted=more) and next_at is None
        if not by_itself and not reason:
            why = f"was used within 30 days (again from {next_at:%-d %B})" if _is_small(wanted=more) and next_at else "does not go so far"
            raise InvalidInput.field("reason", f"Say what it is for: approval by itself {why}, so an operator reads this.")
        row = QuotaRequest.objects.create(tenant=tenant, wanted=more, reason=reason, requested_by=access.actor.label, created_at=now())
        _audit(row, by=access.actor, action="quota.requested", sentence=f"asked for {in_words(limits=more)}", data={"reason": reason})
        if by_itself:
            _close(row, state=QuotaRequest.State.APPROVED, by=ITSELF, answer="")
            change_limits(tenant=tenant, limits=more, by=ITSELF, request=str(row.id))
    return row


def withdraw_quota_request(*, access: Access, request_id: UUID) -> QuotaRequest:
    """Take an open request back and return it. Raises NotFound for another tenant's, Conflict for one that is decided."""
    access.require(Permission.TENANT_MANAGE)
    with transaction.atomic():
        row = access.tenant.quota_requests.select_for_update().filter(id=request_id).first()
        if row is None:
            raise _not_found(access)
        _refuse_decided(row)
        _close(row, state=QuotaRequest.State.WITHDRAWN, by=access.actor, answer="")
        _audit(row, by=access.actor, action="quota.withdrawn", sentence=f"withdrew the request for {in_words(limits=row.wanted)}")
    return row


def decide_quota_request(
    *, by: User, request_id: UUID, approve: bool, answer: str, limits: Mapping[str, object] | None = None
) -> QuotaRequest:
    """Approve or refuse an open request of any tenant and tell whoever asked, by mail. For operators of the portal.

    `limits` are what is given in place of what was wanted, by column; they may be less. A refusal needs an answer. Raises Forbidden for
    anybody but operators, NotFound, Conflict for one that is decided or withdrawn already, InvalidInput.
    """
    require_operator(by=by)
    answer = _text(field="answer", value=answer)
    if not approve and not answer:
        raise InvalidInput.field("answer", "Say why not, and what would be possible: whoever asked reads this.")
    given = parse_limits(values=limits) if approve and limits is not None else None
    with as_system("decision about limits"), transaction.atomic():
        found = QuotaRequest.objects.select_related("tenant").filter(id=request_id).first()
        if found is None:
            raise NotFound("There is no such request.", code="quota_request_not_found")
        tenant = lock_tenant(tenant_id=found.tenant_id)  # before the request's own row, as whoever asks does
        row = QuotaRequest.objects.select_for_update().get(id=request_id)
        _refuse_decided(row)
        _close(row, state=QuotaRequest.State.APPROVED if approve else QuotaRequest.State.REFUSED, by=by.actor, answer=answer)
        result = (row.wanted if given is None else given) if approve else {}
        verb = "approved" if approve else "refused"
        _audit(
            row, by=by.actor, action=f"quota.{verb}", sentence=f"{verb} the request for {in_words(limits=row.wanted)}",
            data={"answer": answer, "given": result},
        )  # fmt: skip
        if approve:
            # What was wanted was more when it was asked for; what an operator gave meanwhile is not taken back by it.
            higher = {column: max(number, getattr(tenant, column)) for column, number in result.items()} if given is None else result
            change_limits(tenant=tenant, limits=higher, by=by.actor, request=str(row.id))
        mails = _mails(row=row, tenant=tenant, given=result)
        transaction.on_commit(partial(_send, mails))
    return row


def quota_requests_of(*, access: Access) -> QuerySet[QuotaRequest]:
    """Return the tenant's requests, newest first."""
    access.require(Permission.TENANT_READ)
    return access.tenant.quota_requests.order_by("-created_at", "-id")


def find_quota_request(*, access: Access, request_id: UUID) -> QuotaRequest:
    """Return one of the tenant's requests. Raises NotFound for any other."""
    row = quota_requests_of(access=access).filter(id=request_id).first()
    if row is None:
        raise _not_found(access)
    return row


def open_quota_requests() -> QuerySet[QuotaRequest]:
    """Return the open requests of all tenants, oldest first. The caller has a scope that sees them, and has checked who asks."""
    waiting = QuotaRequest.objects.filter(state=QuotaRequest.State.OPEN, tenant__deleted_at=None)
    return waiting.select_related("tenant").order_by("created_at", "id")


def self_approved_limits() -> dict[str, int]:
    """Return up to which limits a request approves itself, by column; those of a new tenant where none does."""
    return {column: int(limit.default * max(1, settings.QUOTA_SELF_APPROVED)) for column, limit in LIMITS.items()}


def self_approval_again_at(*, tenant: Tenant) -> datetime | None:
    """Return from when a request of the tenant may approve itself again; None for now."""
    last = (
        tenant.quota_requests.filter(state=QuotaRequest.State.APPROVED, decided_by=ITSELF.label, decided_at__gt=now() - SELF_APPROVAL_EVERY)
        .order_by("-decided_at")
        .first()
    )
    return last.decided_at + SELF_APPROVAL_EVERY if last is not None and last.decided_at is not None else None


def _more(*, tenant: Tenant, wanted: dict[str, int]) -> dict[str, int]:
    before = limits_of(tenant=tenant)
    less = [column for column, number in wanted.items() if number < before[column]]
    if less:
        faults = {column: f"That is less than now ({LIMITS[column].words(before[column])}); ask for more, or leave it." for column in less}
        raise InvalidInput(next(iter(faults.values())), errors=faults)
    more = {column: number for column, number in wanted.items() if number > before[column]}
    if not more:
        raise InvalidInput("Ask for more of at least one thing than your limit is now.", code="quota_nothing_more")
    return more


def _is_small(*, wanted: Mapping[str, int]) -> bool:
    reach = self_approved_limits()
    return settings.QUOTA_SELF_APPROVED > 0 and all(number <= reach[column] for column, number in wanted.items())


def _text(*, field: str, value: str) -> str:
    text = value.replace("\r\n", "\n").strip()
    if len(text) > LONGEST_TEXT or "\x00" in text:
        raise InvalidInput.field(field, f"Write at most {LONGEST_TEXT} characters; these are {len(text)}.")
    return text


def _not_found(access: Access) -> NotFound:
    return NotFound(f"{access.tenant.name} has no such request.", code="quota_request_not_found")


def _refuse_decided(row: QuotaRequest) -> None:
    if row.state != QuotaRequest.State.OPEN:
        raise Conflict(f"This request is {row.state} already.", code="quota_request_decided")


def _close(row: QuotaRequest, *, state: QuotaRequest.State, by: Actor, answer: str) -> None:
    row.state, row.decided_by, row.decided_at, row.answer = state, by.label, now(), answer
    row.save(update_fields=["state", "decided_by", "decided_at", "answer"])


def _audit(row: QuotaRequest, *, by: Actor, action: str, sentence: str, data: dict[str, Any] | None = None) -> None:
    record(
        by=by,
        action=action,
        sentence=sentence,
        tenant_id=row.tenant_id,
        target_id=str(row.id),
        target_label="limits",
        data={"wanted": row.wanted, **(data or {})},
    )


def _mails(*, row: QuotaRequest, tenant: Tenant, given: Mapping[str, int]) -> list[EmailMessage]:
    """Return the mails about a decision: to whoever asked, if they are still in the tenant and no program; else to its owners."""
    people = Membership.objects.filter(tenant=tenant, user__is_active=True, user__is_service=False)
    asker = people.filter(user__email=row.requested_by) or people.filter(role=Role.OWNER)
    context = {
        "row": row,
        "tenant": tenant,
        "wanted": in_words(limits=row.wanted),
        "given": in_words(limits=given),
        "page": settings.BASE_URL + reverse("bays:quota", args=[tenant.slug]),
    }
    subject = render_to_string("tenants/email/quota_decided_subject.txt", context).strip()
    body = render_to_string("tenants/email/quota_decided_message.txt", context)
    return [EmailMessage(subject=subject, body=body, to=[address]) for address in asker.values_list("user__email", flat=True)]


def _send(mails: list[EmailMessage]) -> None:
    for mail in mails:
        try:
            mail.send()
        except OSError as error:  # smtplib's errors too; the page shows the answer all the same
            log.warning("quota_mail_not_sent", error=type(error).__name__)
