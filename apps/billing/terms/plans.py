"""Plans: the terms accounts can have. None is ever changed: who has it relies on it, and months billed on it stay explained."""

import re
from collections import Counter
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from django.db import IntegrityError, transaction

from apps.audit.services import Actor, record
from apps.billing.currencies import check_currency
from apps.billing.models import Plan, Subscription
from apps.billing.operators import require_operator
from apps.billing.terms.accounts import default_plan
from apps.billing.terms.subscriptions import keep_plan_of_everybody
from apps.common.clock import now
from apps.common.errors import Conflict, InvalidInput, NotFound
from apps.common.money import in_words, rounded
from apps.common.scope import as_system
from apps.tenants.models import Tenant

Kind = Plan.Kind
CODE = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
LONGEST_TITLE = 80
HIGHEST_AMOUNT = Decimal(1_000_000_000)
NOTHING = Decimal(0)


def create_plan(
    *,
    by: Actor,
    code: str,
    title: str,
    kind: str,
    currency: str = "",
    allowance: Decimal = NOTHING,
    discount_percent: Decimal = NOTHING,
    commitment: Decimal = NOTHING,
) -> Plan:
    """Make a plan and return it. `allowance` and `commitment` are per calendar month in `currency`; without amounts it fits any currency.

    Raises Forbidden for those who are no operators, InvalidInput for what no plan can say, Conflict for a code that is taken.
    """
    require_operator(by=by)
    title = title.strip()
    _check_names(code=code, title=title, kind=kind)
    _check_amounts(kind=kind, currency=currency, allowance=allowance, discount_percent=discount_percent, commitment=commitment)
    try:
        with transaction.atomic():
            plan = Plan.objects.create(
                code=code, title=title, kind=kind, currency=currency, allowance=allowance, discount_percent=discount_percent,
                commitment=commitment, created_at=now(),
            )  # fmt: skip
            _record(by=by, plan=plan, action="plan.created", sentence=f"made the plan {title} ({code}): {in_a_sentence(plan=plan)}")
    except IntegrityError as error:
        raise Conflict(f"There is a plan “{code}” already; plans are never changed, so choose another code.", code="plan_exists") from error
    return plan


def retire_plan(*, by: Actor, plan_id: UUID) -> Plan:
    """Offer a plan to nobody any more and return it; who has it keeps it. The same again changes nothing.

    Raises Forbidden for those who are no operators, NotFound for unknown plans, Conflict for the default plan.
    """
    require_operator(by=by)
    with transaction.atomic():
        plan = _locked(plan_id)
        if plan.is_default:
            raise Conflict("New organisations start with this plan: make another one the default first.", code="plan_is_default")
        if plan.retired_at is None:
            plan.retired_at = now()
            plan.save(update_fields=["retired_at"])
            _record(by=by, plan=plan, action="plan.retired", sentence=f"retired the plan {plan.title} ({plan.code}); who has it keeps it")
    return plan


def make_default(*, by: Actor, plan_id: UUID) -> Plan:
    """Let new organisations start with a plan, and return it. All that exist keep the one they have, also those that never chose.

    Raises Forbidden for those who are no operators, NotFound for unknown plans, Conflict for a plan that is retired or not for accounts
    in every currency.
    """
    require_operator(by=by)
    before = default_plan()
    with as_system("default plan"), transaction.atomic():
        plan = _locked(plan_id)
        if plan.retired_at is not None:
            raise Conflict("This plan is retired: nobody new gets it.", code="plan_retired")
        if plan.is_default:
            return plan
        keep_plan_of_everybody(plan=before, by=by)
        Plan.objects.filter(is_default=True).update(is_default=False)
        plan.is_default = True
        plan.save(update_fields=["is_default"])
        _record(
            by=by,
            plan=plan,
            action="plan.made_default",
            sentence=f"made {plan.title} ({plan.code}) the plan of new organisations, in place of {before.title} ({before.code})",
        )
    return plan


def organisations_by_plan(*, at: datetime) -> Counter[UUID]:
    """Return how many organisations that exist have each plan at the moment; those that never chose one have the default."""
    living = Tenant.objects.filter(deleted_at=None)
    newest = Subscription.objects.filter(starts_at__lte=at, tenant__in=living).order_by("tenant_id", "-starts_at").distinct("tenant_id")
    found = Counter(subscription.plan_id for subscription in newest)
    found[default_plan().id] += living.count() - found.total()
    return found


def in_a_sentence(*, plan: Plan) -> str:
    """Return what a plan says, for people."""
    parts = [str(Kind(plan.kind).label)]
    if plan.discount_percent:
        parts.append(f"{plan.discount_percent.normalize():f} % discount")
    if plan.allowance:
        parts.append(f"{in_words(amount=plan.allowance, currency=plan.currency)} a month free of charge")
    if plan.commitment:
        parts.append(f"at least {in_words(amount=plan.commitment, currency=plan.currency)} a month")
    return ", ".join(parts)


def _check_names(*, code: str, title: str, kind: str) -> None:
    if not CODE.fullmatch(code):
        raise InvalidInput.field("code", "The code is at most 40 lower-case letters, digits and hyphens, and begins with no hyphen.")
    if not 0 < len(title) <= LONGEST_TITLE or not title.isprintable():
        raise InvalidInput.field("title", f"The title is one line of 1 to {LONGEST_TITLE} characters: it stands on invoices.")
    if kind not in Kind.values:
        raise InvalidInput.field("kind", f"The kind of a plan is one of: {', '.join(Kind.values)}.")


def _check_amounts(*, kind: str, currency: str, allowance: Decimal, discount_percent: Decimal, commitment: Decimal) -> None:
    if not discount_percent.is_finite() or not 0 <= discount_percent <= 100 or discount_percent != round(discount_percent, 2):  # noqa: PLR2004 - percent
        raise InvalidInput.field("discount_percent", "The discount lies between 0 and 100 percent, with at most two decimals.")
    if currency:
        check_currency(currency=currency)
    for field, amount in (("allowance", allowance), ("commitment", commitment)):
        if not amount.is_finite() or not 0 <= amount <= HIGHEST_AMOUNT or amount != rounded(amount=amount, currency=currency or "USD"):
            raise InvalidInput.field(field, f"The amount lies between 0 and {HIGHEST_AMOUNT:,}, in whole cents.")
        if amount and not currency:
            raise InvalidInput.field("currency", "A plan with an amount needs its currency.")
    if (kind == Kind.FREE) != bool(allowance):
        raise InvalidInput.field("allowance", "A free beta has a monthly allowance, and no other plan has one.")
    if (kind == Kind.COMMITTED) != bool(commitment):
        raise InvalidInput.field("commitment", "A commitment has an amount, and no other plan has one.")


def _locked(plan_id: UUID) -> Plan:
    plan = Plan.objects.select_for_update(no_key=True).filter(id=plan_id).first()
    if plan is None:
        raise NotFound("There is no such plan.")
    return plan


def _record(*, by: Actor, plan: Plan, action: str, sentence: str) -> None:
    record(
        by=by,
        action=action,
        sentence=sentence,
        tenant_id=None,
        target_id=str(plan.id),
        target_label=plan.code,
        data={
            "kind": plan.kind, "currency": plan.currency, "allowance": str(plan.allowance), "commitment": str(plan.commitment),
            "discount_percent": str(plan.discount_percent),
        },
    )  # fmt: skip
