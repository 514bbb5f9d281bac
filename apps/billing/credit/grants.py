"""Credit: granted or bought, used by invoices in the order in which it expires, never twice.

What is left of a grant is its amount less its uses; nobody keeps a balance. An invoice may use a grant that had not expired before the
end of the period it is for, whenever it is written: credit “until the end of March” pays for all of March, and it makes no difference
how long after the month's end its invoice comes. Pages and estimates show what can be used now.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import partial
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import F, Prefetch, QuerySet, Sum
from django.db.models.functions import Coalesce

from apps.audit.services import Actor, record
from apps.billing.currencies import check_currency
from apps.billing.models import Account, CreditGrant, CreditUse, Invoice
from apps.billing.periods import Period, local_day, month_at, period_from
from apps.billing.taxes.rules import tax_for
from apps.billing.terms.accounts import account_of, default_issuer
from apps.billing.usage.spend import spend_of
from apps.common.clock import now
from apps.common.dispatch import send
from apps.common.errors import Conflict, InvalidInput
from apps.common.money import in_words, rounded
from apps.tenants.context import Access
from apps.tenants.models import Tenant
from apps.tenants.roles import Permission

Kind = CreditGrant.Kind
MOST = Decimal(1_000_000_000)
"""The largest grant, in units of its currency: more is a slip of the finger."""
LONGEST_REASON = 200
LONGEST_REFERENCE = 255
ISSUING = Actor.system("invoicing")


@dataclass(frozen=True, kw_only=True)
class Balance:
    """What is left of credit in the account's currency, by whose money it is."""

    promotional: Decimal
    prepaid: Decimal
    currency: str

    @property
    def total(self) -> Decimal:
        """Both together."""
        return self.promotional + self.prepaid


@dataclass(frozen=True, kw_only=True)
class GrantLeft:
    """A grant with what its invoices have used of it and what is left.

    `pays_until` is the last day, by the account's calendar, whose use it can pay for, None where it never expires; `expired` says that
    all months until then are invoiced.
    """

    grant: CreditGrant
    used: Decimal
    left: Decimal
    pays_until: date | None
    expired: bool


@transaction.atomic
def grant_credit(
    *,
    by: Actor,
    tenant: Tenant,
    kind: str,
    amount: Decimal,
    currency: str,
    reason: str,
    expires_at: datetime | None = None,
    reference: str = "",
) -> CreditGrant:
    """Give a tenant credit, or note what it bought, and return the grant; the same `reference` again returns the grant it made.

    The caller has checked that `by` may. Raises InvalidInput for an amount that is none, a promotion in a currency the account does not
    have, an end that is past, or no reason; Conflict where the reference stands for another amount.
    """
    known = CreditGrant.objects.filter(tenant=tenant, reference=reference).first() if reference else None
    if known is not None:
        return _same(known, kind=kind, amount=amount, currency=currency)
    account = account_of(tenant=tenant)
    _check(kind=kind, amount=amount, currency=currency, reason=reason, reference=reference)
    if kind == Kind.PROMOTIONAL and currency != account.currency:
        raise InvalidInput.field("currency", f"{tenant.name} is billed in {account.currency}: credit in {currency} could never be used.")
    _check_expiry(account=account, expires_at=expires_at)
    values = {"kind": kind, "amount": amount, "currency": currency, "reason": reason.strip(), "expires_at": expires_at}
    try:
        with transaction.atomic():
            grant = CreditGrant.objects.create(tenant=tenant, reference=reference, granted_at=now(), created_by=by.label, **values)
    except IntegrityError:  # the same reference at the same time: the other one made it
        return _same(CreditGrant.objects.get(tenant=tenant, reference=reference), kind=kind, amount=amount, currency=currency)
    record(
        by=by, action="credit.granted", tenant_id=tenant.id, target_id=str(grant.id), target_label=tenant.slug,
        sentence=f"granted {tenant.name} {in_words(amount=amount, currency=currency)} of {kind} credit: {grant.reason}",
        data={"kind": kind, "amount": str(amount), "currency": currency, "reference": reference,
              "expires_at": expires_at.isoformat() if expires_at else None},
    )  # fmt: skip
    transaction.on_commit(partial(send, task="billing.watch_one", tenant_id=str(tenant.id)))
    return grant


def planned_uses(*, tenant_id: UUID, kind: str, currency: str, amount: Decimal, at: datetime) -> list[tuple[CreditGrant, Decimal]]:
    """Return which grants of one kind would be used for `amount`, and how much of each, in whole smallest units; writes nothing.

    `at` is the end of the period that is invoiced (for what is used now: now): a grant that expires before it is left out. Soonest
    expiry first, those that never expire last, then the oldest. The uses sum to `amount`, or to less where there is not enough.
    """
    grants = [(grant, _left(grant)) for grant in _grants(tenant_id=tenant_id, currency=currency) if grant.kind == kind]
    return _plan(grants, amount=rounded(amount=amount, currency=currency), end=at)


@transaction.atomic
def note_uses(*, invoice: Invoice, uses: Sequence[tuple[CreditGrant, Decimal]], at: datetime) -> None:
    """Write down what of which grant the invoice uses; call it in the transaction that issues it.

    Locks the tenant's account, so that two invoices come one after the other; to plan and use in one go, lock it before planning.
    Raises Conflict where less is left of a grant than was planned: plan anew. The database refuses it as well.
    """
    if not uses:
        return
    Account.objects.select_for_update(no_key=True).get(tenant_id=invoice.tenant_id)
    grants = {
        grant.id: grant
        for grant in _grants(tenant_id=invoice.tenant_id, currency=invoice.currency).filter(id__in=[grant.id for grant, _ in uses])
    }
    for planned, amount in uses:
        grant = grants.get(planned.id)
        if grant is None or _left(grant) < amount:
            raise Conflict("The credit was used meanwhile by another invoice.", code="credit_used")
        CreditUse.objects.create(tenant_id=invoice.tenant_id, grant=grant, invoice=invoice, amount=amount, at=at)
    total = sum((amount for _, amount in uses), Decimal(0))
    record(
        by=ISSUING, action="credit.used", tenant_id=invoice.tenant_id, target_id=str(invoice.id), target_label=invoice.number,
        sentence=f"used {in_words(amount=total, currency=invoice.currency)} of credit for invoice {invoice.number}",
        data={"uses": {str(grant.id): str(amount) for grant, amount in uses}},
    )  # fmt: skip


def balance_of(*, tenant: Tenant, at: datetime) -> Balance:
    """Return what of the tenant's credit has not been used by invoices and can still be used at the moment, in its account's currency."""
    account = account_of(tenant=tenant)
    end = _first_open(account=account, at=at).end
    sums = dict.fromkeys(Kind.values, rounded(amount=0, currency=account.currency))
    for grant in _grants(tenant_id=tenant.id, currency=account.currency):
        if _serves(grant, end=end):
            sums[grant.kind] += _left(grant)
    return Balance(promotional=sums[Kind.PROMOTIONAL], prepaid=sums[Kind.PREPAID], currency=account.currency)


def balance_after_spend(*, account: Account, at: datetime) -> Balance:
    """Return what will be left of the credit when all that was used until the moment is invoiced, this month's use with the rest.

    Of the credit that can pay for this month; what months before it still have to be invoiced for takes its share first.
    """
    period, left = left_after_spend(account=account, at=at)
    sums = dict.fromkeys(Kind.values, rounded(amount=0, currency=account.currency))
    for grant, amount in left.items():
        if _serves(grant, end=period.end):
            sums[grant.kind] += amount
    return Balance(promotional=sums[Kind.PROMOTIONAL], prepaid=sums[Kind.PREPAID], currency=account.currency)


def left_after_spend(*, account: Account, at: datetime) -> tuple[Period, dict[CreditGrant, Decimal]]:
    """Return the period the moment is in, and what will be left of each grant when all that was used until the moment is invoiced.

    Grants are those in the account's currency, in the order in which they are used, ended ones too.
    """
    grants = list(_grants(tenant_id=account.tenant_id, currency=account.currency))
    left = {grant: _left(grant) for grant in grants}
    period = _first_open(account=account, at=at)
    while left:
        net = spend_of(account=account, period=period, as_of=at).net
        net -= _take(left, kind=Kind.PROMOTIONAL, amount=net, end=period.end)
        day = local_day(at=period.end, zone=account.time_zone) - timedelta(days=1)
        tax = tax_for(issuer=default_issuer(), account=account, on=day).on(net=net, currency=account.currency)
        _take(left, kind=Kind.PREPAID, amount=net + tax, end=period.end)
        if period.end > at:
            break
        period = period_from(start=period.end, zone=account.time_zone)
    return period, left


def grants_of(*, access: Access, at: datetime) -> list[GrantLeft]:
    """Return all grants of the tenant in all currencies, newest first, each with its uses by invoice (`grant.uses.all()`)."""
    access.require(Permission.BILLING_READ)
    account = account_of(tenant=access.tenant)
    end = _first_open(account=account, at=at).end
    uses = CreditUse.objects.select_related("invoice").defer("invoice__pdf").order_by("at", "id")
    grants = _with_used(CreditGrant.objects.filter(tenant=access.tenant)).order_by("-granted_at", "-id")
    return [
        GrantLeft(
            grant=grant,
            used=rounded(amount=_used(grant), currency=grant.currency),
            left=_left(grant),
            pays_until=pays_until(grant=grant, account=account),
            expired=not _serves(grant, end=end),
        )
        for grant in grants.prefetch_related(Prefetch("uses", queryset=uses))
    ]


def _grants(*, tenant_id: UUID, currency: str) -> QuerySet[CreditGrant]:
    """Return grants with what is used of each, in the order in which they are used."""
    rows = _with_used(CreditGrant.objects.filter(tenant_id=tenant_id, currency=currency))
    return rows.order_by(F("expires_at").asc(nulls_last=True), "granted_at", "id")


def _with_used(rows: QuerySet[CreditGrant]) -> QuerySet[CreditGrant]:
    return rows.annotate(used=Coalesce(Sum("uses__amount"), Decimal(0)))


def _first_open(*, account: Account, at: datetime) -> Period:
    """Return the period that is invoiced next: this month, or one before it whose invoice has not been written yet."""
    month = month_at(at=at, zone=account.time_zone)
    return period_from(start=account.billed_until, zone=account.time_zone) if account.billed_until < month.end else month


def _serves(grant: CreditGrant, *, end: datetime) -> bool:
    """Tell whether the grant may pay for a period that ends then."""
    return grant.expires_at is None or grant.expires_at >= end


def pays_until(*, grant: CreditGrant, account: Account) -> date | None:
    """Return the last day, by the account's calendar, whose use the grant can pay for; None where it never expires."""
    if grant.expires_at is None:
        return None
    return local_day(at=month_at(at=grant.expires_at, zone=account.time_zone).start, zone=account.time_zone) - timedelta(days=1)


def _plan(grants: Iterable[tuple[CreditGrant, Decimal]], *, amount: Decimal, end: datetime) -> list[tuple[CreditGrant, Decimal]]:
    """Return what of the grants, in their order and each with what is left of it, is used for an amount of a period that ends then."""
    missing, uses = amount, []
    for grant, left in grants:
        use = min(missing, left)
        if use > 0 and _serves(grant, end=end):
            uses.append((grant, use))
            missing -= use
    return uses


def _take(left: dict[CreditGrant, Decimal], *, kind: str, amount: Decimal, end: datetime) -> Decimal:
    """Take what is planned for an amount off what is left of each grant, and return how much that is together."""
    uses = _plan([(grant, rest) for grant, rest in left.items() if grant.kind == kind], amount=amount, end=end)
    for grant, use in uses:
        left[grant] -= use
    return sum((use for _, use in uses), Decimal(0))


def _used(grant: CreditGrant) -> Decimal:
    return Decimal(getattr(grant, "used", 0))


def _left(grant: CreditGrant) -> Decimal:
    return rounded(amount=grant.amount - _used(grant), currency=grant.currency)


def _same(grant: CreditGrant, *, kind: str, amount: Decimal, currency: str) -> CreditGrant:
    if (grant.kind, grant.amount, grant.currency) != (kind, amount, currency):
        raise Conflict(
            f"“{grant.reference}” stands for other credit: {in_words(amount=grant.amount, currency=grant.currency)}, {grant.kind}.",
            code="credit_reference_reused",
        )
    return grant


def _check(*, kind: str, amount: Decimal, currency: str, reason: str, reference: str) -> None:
    if kind not in Kind.values:
        raise InvalidInput.field("kind", f"The kind of credit must be one of: {', '.join(Kind.values)}.")
    check_currency(currency=currency)
    if not amount.is_finite() or not 0 < amount <= MOST or amount != rounded(amount=amount, currency=currency):
        raise InvalidInput.field("amount", f"The amount must be more than 0, at most {MOST:,} and in whole cents of {currency}.")
    if not 0 < len(reason.strip()) <= LONGEST_REASON:
        raise InvalidInput.field("reason", f"Say what the credit is for, in at most {LONGEST_REASON} characters.")
    if len(reference) > LONGEST_REFERENCE:
        raise InvalidInput.field("reference", f"The reference may have at most {LONGEST_REFERENCE} characters.")


def _check_expiry(*, account: Account, expires_at: datetime | None) -> None:
    """Refuse credit that no invoice could ever use: that of this month is the next one, and ends with the month."""
    end = month_at(at=now(), zone=account.time_zone).end
    if expires_at is not None and expires_at < end:
        day = f"{local_day(at=end, zone=account.time_zone):%-d %B %Y}"
        raise InvalidInput.field("expires_at", f"Credit pays for months that end before it expires: let it expire on {day} or later.")
