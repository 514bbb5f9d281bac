"""The support view: an operator sees a tenant as one of its viewers would, for a while, and cannot change anything in it.

Its owners are told by mail before it begins, and beginning and end stand in the tenant's audit log.
"""

from collections.abc import Mapping
from contextvars import ContextVar
from datetime import timedelta
from smtplib import SMTPException
from typing import Any

from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.db import transaction
from django.db.models import QuerySet
from django.template.loader import render_to_string
from django.urls import reverse

from apps.accounts.models import User
from apps.audit.services import Actor, record
from apps.common.api.problems import Unavailable
from apps.common.clock import now
from apps.common.dispatch import send
from apps.common.errors import Conflict, Forbidden, InvalidInput, NotFound
from apps.common.scope import as_system
from apps.dashboard.gate import require_operator
from apps.dashboard.models import SupportView
from apps.tenants.context import Access, require_second_factor
from apps.tenants.models import Tenant
from apps.tenants.roles import PERMISSIONS, Permission, Role

LONGEST = timedelta(minutes=60)
REASON_LENGTHS = range(10, 501)
READS = frozenset(permission for permission in PERMISSIONS[Role.VIEWER] if permission.endswith(":read"))
"""What a support view shows: what a viewer may read. No credentials, no tokens, no changes."""
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
SCOPE = "support view"

_method: ContextVar[str] = ContextVar("carina_request_method", default="GET")


class SupportAccess(Access):
    """An operator's standing in a tenant they look at."""

    def require(self, permission: Permission) -> None:
        """Raise Forbidden for all but reading."""
        if permission not in self.permissions:
            raise refusal(tenant=self.tenant)


def refusal(*, tenant: Tenant) -> Forbidden:
    """Return what is said to an operator who tries to change something in a support view, or to get credentials."""
    return Forbidden(
        f"You look at {tenant.name} in a support view, which shows what a viewer sees and changes nothing; ask an owner of it to do this."
    )


def start_support_view(*, by: User, slug: str, reason: str, minutes: int) -> SupportView:
    """Open the support view of a tenant for `minutes` (at most 60), tell its owners by mail, and return it.

    Raises NotFound for those who are no operators and for unknown tenants, InvalidInput without a reason, Conflict for members of the
    tenant and while another view is open, Forbidden without the second factor the tenant asks for, Unavailable where the owners cannot
    be told.
    """
    require_operator(by=by)
    reason = " ".join(reason.split())
    if len(reason) not in REASON_LENGTHS or not reason.isprintable():
        raise InvalidInput.field("reason", "Say in 10 to 500 characters why: the owners of the organisation read it.")
    if not timedelta(0) < timedelta(minutes=minutes) <= LONGEST:
        raise InvalidInput.field("minutes", "A support view lasts from 1 to 60 minutes.")
    with as_system(SCOPE):
        end_expired_support_views()
        with transaction.atomic():
            view = _open(by, slug, reason, timedelta(minutes=minutes))
            _tell_owners(view)
    # On time where a worker is there; otherwise whoever looks next finds it over, and closes it.
    send(task="dashboard.end_support_views", countdown=minutes * 60.0 + 1)
    return view


def end_support_view(*, of: User, end: SupportView.End = SupportView.End.OPERATOR) -> SupportView | None:
    """Close the support view that `of` has open and return it; None if there is none."""
    with as_system(SCOPE), transaction.atomic():
        view = _open_views().select_for_update(of=("self",)).filter(operator=of).first()
        if view is not None:
            _close(view, end)
        return view


def end_expired_support_views() -> int:
    """Close the views whose time is over, with a line in the tenant's audit log each; return how many."""
    with as_system(SCOPE), transaction.atomic():
        over = list(_open_views().select_for_update(of=("self",), skip_locked=True).filter(expires_at__lte=now()))
        for view in over:
            _close(view, SupportView.End.TIME)
    return len(over)


def running_view(*, user: User) -> SupportView | None:
    """Return the support view the operator has open now, its tenant loaded; None for everybody else."""
    if not (user.is_staff and user.is_active):
        return None
    with as_system(SCOPE):
        return _open_views().filter(operator=user, expires_at__gt=now(), tenant__deleted_at=None).first()


def running_views() -> QuerySet[SupportView]:
    """Return all views that are open now, newest first. The caller is in a system scope."""
    return _open_views().filter(expires_at__gt=now()).order_by("-started_at", "-id")


def admit(user: User, slug: str) -> Access | None:
    """Return the access that an open support view gives its operator to the tenant `slug`; None without one.

    Raises Forbidden for requests that would change something, whatever they are about.
    """
    view = running_view(user=user)
    if view is None or view.tenant.slug != slug:
        return None
    if _method.get() not in SAFE_METHODS:
        raise refusal(tenant=view.tenant)
    return SupportAccess(user=user, tenant=view.tenant, role=Role.VIEWER, permissions=READS)


def note_method(*, environ: Mapping[str, Any] | None = None, **_: Any) -> None:
    """Know whether the request being served may change anything; receives Django's `request_started`."""
    _method.set(str((environ or {}).get("REQUEST_METHOD", "GET")))


def end_at_sign_out(*, user: User | None = None, **_: Any) -> None:
    """Close the view of an operator who signs out; receives Django's `user_logged_out`."""
    if user is not None and user.is_staff:
        end_support_view(of=user, end=SupportView.End.SIGNED_OUT)


def _open_views() -> QuerySet[SupportView]:
    return SupportView.objects.filter(ended_at=None).select_related("tenant", "operator")


def _open(by: User, slug: str, reason: str, length: timedelta) -> SupportView:
    tenant = Tenant.objects.select_for_update().filter(slug=slug, deleted_at=None).first()
    if tenant is None:
        raise NotFound(f"There is no organisation “{slug[:60]}”.", code="tenant_not_found")
    if tenant.memberships.filter(user=by).exists():
        raise Conflict(f"You are a member of {tenant.name}: open it as one.", code="already_member")
    require_second_factor(user=by, tenant=tenant)
    User.objects.select_for_update().get(pk=by.pk)  # two requests at once must not both find no open view
    if (other := _open_views().filter(operator=by).first()) is not None:
        raise Conflict(f"You have a support view of {other.tenant.name} open; end it first.", code="support_view_open")
    moment = now()
    view = SupportView.objects.create(tenant=tenant, operator=by, reason=reason, started_at=moment, expires_at=moment + length)
    _record(view, by=by.actor, action="support.started", sentence=f"opened a support view, until {view.expires_at:%H:%M} UTC: {reason}")
    return view


def _close(view: SupportView, end: SupportView.End) -> None:
    in_time = end != SupportView.End.TIME
    view.ended_at, view.end = (now() if in_time else view.expires_at), end
    view.save(update_fields=["ended_at", "end"])
    by = view.operator.actor if in_time else Actor.system("support")
    _record(view, by=by, action="support.ended", sentence=f"ended the support view of {view.operator.email}: {end.label}")


def _record(view: SupportView, *, by: Actor, action: str, sentence: str) -> None:
    record(
        by=by,
        action=action,
        sentence=sentence,
        tenant_id=view.tenant_id,
        target_id=str(view.tenant_id),
        target_label=view.tenant.slug,
        data={"support_view": str(view.id), "reason": view.reason, "expires_at": view.expires_at.isoformat()},
    )


def _tell_owners(view: SupportView) -> None:
    owners = User.objects.filter(memberships__tenant=view.tenant, memberships__role=Role.OWNER, is_service=False)
    audit = f"{settings.BASE_URL}{reverse('dashboard:audit', args=[view.tenant.slug])}"
    text = render_to_string("operators/mail/support_view.txt", {"view": view, "audit": audit})
    subject = f"An operator looks at {view.tenant.name}"
    try:
        with get_connection() as connection:
            # One mail each: owners need not learn each other's addresses from a header.
            connection.send_messages([EmailMessage(subject, text, to=[owner.email], connection=connection) for owner in owners])
    except (OSError, SMTPException) as error:
        raise Unavailable(
            f"The owners of {view.tenant.name} could not be told by mail, so the support view was not opened; try again later.",
            code="owners_not_told",
        ) from error
