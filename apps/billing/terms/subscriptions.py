"""Which plan an organisation has from when on: from the beginning of a period, so that no period has two."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Q

from apps.audit.services import Actor, record
from apps.billing.models import Account, Interval, Plan, Subscription
from apps.billing.operators import require_operator
from apps.billing.periods import Period, month_at, period_from
from apps.billing.terms.accounts import account_of, plan_at
from apps.common.clock import now
from apps.common.errors import Conflict
from apps.common.scope import as_system
from apps.tenants.models import Tenant


@dataclass(frozen=True, kw_only=True)
class Terms:
    """The plan an account has in its running period, and the one it will have after it, if that is another."""

    period: Period
    plan: Plan
    following: Subscription | None


def subscribe(*, by: Actor, tenant: Tenant, plan: Plan, at: datetime, immediately: bool = False) -> Subscription:
    """Give an organisation a plan from its next period on, and return since when; what was to follow before is replaced.

    `immediately` means from the beginning of the running period, which can be only while no host was billed in it.

    Raises Forbidden for those who are no operators, Conflict for a plan that is retired, in another currency or the one it has already,
    and where it is too late for this period.
    """
    require_operator(by=by)
    with as_system("plan of a tenant"), transaction.atomic():
        account_of(tenant=tenant)
        # one after the other with invoices, which hold the account while they find out the terms
        account = Account.objects.select_for_update(no_key=True).get(tenant=tenant)
        offered = Plan.objects.select_for_update(no_key=True).get(id=plan.id)
        period = running_period(account=account, at=at)
        _check(account=account, plan=offered, period=period, immediately=immediately)
        start = period.start if immediately else period.end
        before = plan_at(tenant=tenant, at=period.start)
        planned = Subscription.objects.filter(tenant=tenant, starts_at__gt=period.start).order_by("starts_at").first()
        after = planned.plan if planned is not None else before
        if offered == after and (offered == before or not immediately):
            raise Conflict(f"{tenant.name} has the plan {offered.title} already, or will have it next.", code="plan_unchanged")
        Subscription.objects.filter(tenant=tenant, starts_at__gt=period.start).exclude(starts_at=start).delete()
        found, _ = Subscription.objects.update_or_create(
            tenant=tenant, starts_at=start, defaults={"plan": offered, "created_by": by.label, "created_at": now()}
        )
        record(
            by=by,
            action="plan.subscribed",
            sentence=f"gave {tenant.name} the plan {offered.title} from {start:%Y-%m-%d %H:%M} UTC on, after {before.title}",
            tenant_id=tenant.id,
            target_id=str(tenant.id),
            target_label=tenant.slug,
            data={"from": before.code, "to": offered.code, "starts_at": start.isoformat()},
        )
    return found


def terms_of(*, tenant: Tenant, at: datetime) -> Terms:
    """Return the plan in force and the one that follows."""
    period = running_period(account=account_of(tenant=tenant), at=at)
    following = Subscription.objects.filter(tenant=tenant, starts_at__gt=period.start).select_related("plan").order_by("starts_at").first()
    return Terms(period=period, plan=plan_at(tenant=tenant, at=period.start), following=following)


def running_period(*, account: Account, at: datetime) -> Period:
    """Return the period the moment is in; the first that is not invoiced yet if the moment lies before it.

    Periods follow one another from `billed_until` on: where invoices are late, the running one is not the next to be invoiced.
    """
    period = period_from(start=account.billed_until, zone=account.time_zone)
    while period.end <= at:
        period = period_from(start=period.end, zone=account.time_zone)
    return period


def keep_plan_of_everybody(*, plan: Plan, by: Actor) -> None:
    """Write down, for all who have the default plan because they have no other, that they have it: the default becomes another one.

    From before their first period on, so that no period of theirs, billed or not, changes its terms.
    """
    first: dict[UUID, datetime] = {}
    for tenant_id, starts_at in Subscription.objects.order_by("starts_at").values_list("tenant_id", "starts_at"):
        first.setdefault(tenant_id, starts_at)
    zones = dict(Account.objects.values_list("tenant_id", "time_zone"))
    rows = []
    for tenant in Tenant.objects.only("id", "created_at"):
        mine = {settings.BILLING_TIME_ZONE, zones.get(tenant.id, settings.BILLING_TIME_ZONE)}
        start = min(month_at(at=tenant.created_at, zone=zone).start for zone in mine)
        if tenant.id not in first or start < first[tenant.id]:
            rows.append(Subscription(tenant=tenant, plan=plan, starts_at=start, created_by=by.label, created_at=now()))
    Subscription.objects.bulk_create(rows, batch_size=1000)


def _check(*, account: Account, plan: Plan, period: Period, immediately: bool) -> None:
    if plan.retired_at is not None:
        raise Conflict(f"The plan {plan.title} is retired: nobody new gets it.", code="plan_retired")
    if plan.currency not in {"", account.currency}:
        raise Conflict(
            f"The plan {plan.title} is in {plan.currency}, the account in {account.currency}: they must be the same.", code="plan_currency"
        )
    used = Interval.objects.filter(tenant_id=account.tenant_id).filter(Q(ended_at=None) | Q(ended_at__gt=period.start))
    if immediately and used.exists():
        raise Conflict(
            f"Hosts were billed in this period already: another plan can begin with the next one, at {period.end:%Y-%m-%d %H:%M} UTC.",
            code="plan_too_late",
        )
