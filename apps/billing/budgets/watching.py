"""Watching what is spent: budgets that reach a share act, and prepaid credit that is used up stops growth.

Every look works out anew what holds now, from use, budgets and credit; so whatever changes any of them is in force at the next look, at
most `EVERY` seconds later, without anybody having to tell anybody. Only what is done once, such as a mail, leaves a note behind.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from functools import cached_property
from uuid import UUID

import structlog
from django.db import transaction
from django.utils.translation import gettext as _

from apps.audit.services import Actor, record
from apps.billing.budgets.actions import ACTIONS, load_action
from apps.billing.budgets.actions.base import Standing
from apps.billing.credit.grants import balance_after_spend
from apps.billing.models import Account, Budget, BudgetCrossing, Plan, Subscription
from apps.billing.periods import Period
from apps.billing.terms.accounts import account_of, default_plan, plan_at
from apps.billing.usage.spend import month_to_bill, spend_of
from apps.common.money import in_words
from apps.tenants.holds import set_holds
from apps.tenants.models import Hold, Tenant

log = structlog.get_logger(__name__)
BUDGETS, CREDIT = "budget", "credit"
"""Families of holds, and codes of what they refuse."""
EVERY = 30
"""Seconds between looks, as settings.CELERY_BEAT_SCHEDULE has it."""
TOGETHER = 20
"""Tenants one task looks at."""
WATCHER = Actor.system("budgets")


@dataclass(kw_only=True)
class Look:
    """One look at one tenant, whose account is locked if what is seen shall hold until the transaction ends."""

    account: Account
    at: datetime

    @cached_property
    def period(self) -> Period:
        """The month budgets are about."""
        return month_to_bill(account=self.account, at=self.at)

    def standings(self) -> Iterator[tuple[str, Standing]]:
        """Return the rules of all budgets whose share is reached, each with its action's name; lowest first."""
        budgets = list(Budget.objects.filter(tenant_id=self.account.tenant_id).order_by("created_at", "id"))
        if not budgets:
            return
        spent = spend_of(account=self.account, period=self.period, as_of=self.at).net
        for budget in budgets:
            for rule in sorted(budget.rules, key=lambda rule: (rule["percent"], rule["action"])):
                # a plug-in that was taken out of the portal does nothing any more; its rules wait for it
                if rule["action"] in ACTIONS and 100 * Fraction(spent) >= rule["percent"] * Fraction(budget.amount):
                    yield (
                        rule["action"],
                        Standing(account=self.account, budget=budget, percent=rule["percent"], spent=spent, period=self.period, at=self.at),
                    )

    def credit_sentence(self) -> str:
        """Return why a prepaid tenant may not grow; empty for one that may, and for every other."""
        tenant = self.account.tenant
        if plan_at(tenant=tenant, at=self.at).kind != Plan.Kind.PREPAID:
            return ""
        left = balance_after_spend(account=self.account, at=self.at)
        if left.total > 0:
            return ""
        return _(
            "The prepaid credit of %(tenant)s is used up (%(left)s left): no new bays and no more hosts until credit is added, under "
            "Billing, Credit. What runs goes on."
        ) % {"tenant": tenant.name, "left": in_words(amount=left.total, currency=left.currency)}


def watch(*, at: datetime) -> None:
    """Look at every tenant that has something to watch. One that cannot be looked at is logged and keeps no other waiting."""
    for tenant_id in watched_tenants(at=at):
        watch_safely(tenant_id=tenant_id, at=at)


def watch_safely(*, tenant_id: UUID, at: datetime) -> None:
    """Look at one tenant; whatever goes wrong is logged, and the next look tries again."""
    try:
        look_at(tenant_id=tenant_id, at=at)
    except Exception:
        log.exception("budget_watch_failed", tenant=str(tenant_id))


def watched_tenants(*, at: datetime) -> list[UUID]:
    """Return the tenants with budgets, with a prepaid plan, or with a hold that one of them has put; deleted ones are left out."""
    newest = Subscription.objects.filter(starts_at__lte=at).order_by("tenant_id", "-starts_at").distinct("tenant_id")
    kinds = dict(newest.values_list("tenant_id", "plan__kind"))
    found = {tenant_id for tenant_id, kind in kinds.items() if kind == Plan.Kind.PREPAID}
    found |= set(Budget.objects.values_list("tenant_id", flat=True).distinct())
    found |= set(Hold.objects.filter(code__regex=f"^({BUDGETS}|{CREDIT})(:|$)").values_list("tenant_id", flat=True))
    living = Tenant.objects.filter(deleted_at=None).order_by("id")
    if default_plan().kind == Plan.Kind.PREPAID:
        return [tenant_id for tenant_id in living.values_list("id", flat=True) if tenant_id in found or tenant_id not in kinds]
    return list(living.filter(id__in=found).values_list("id", flat=True))


def look_at(*, tenant_id: UUID, at: datetime) -> None:
    """Set what stands in one tenant's way now, and do once what is to be done once. Two looks at once do nothing twice."""
    reached = apply_holds(tenant_id=tenant_id, at=at)
    period_start = {standing.period.start for _action, standing in reached}
    rows = BudgetCrossing.objects.filter(tenant_id=tenant_id, period_start__in=period_start)
    noted = set(rows.values_list("budget_id", "action", "percent"))
    news = {(standing.budget.id, action) for action, standing in reached if (standing.budget.id, action, standing.percent) not in noted}
    for budget_id, action in sorted(news):
        try:
            _act_once(action, [standing for name, standing in reached if (standing.budget.id, name) == (budget_id, action)])
        except Exception:
            log.exception("budget_action_failed", tenant=str(tenant_id), budget=str(budget_id), action=action)


@transaction.atomic
def apply_holds(*, tenant_id: UUID, at: datetime) -> list[tuple[str, Standing]]:
    """Set the tenant's holds to what its budgets and its credit say now, and return the rules that are reached.

    The account stays locked until the transaction ends, so that a look that began before a budget was changed cannot end after it.
    """
    account_of(tenant=Tenant.objects.get(id=tenant_id))
    account = Account.objects.select_related("tenant").select_for_update(of=("self",), no_key=True).get(tenant_id=tenant_id)
    look = Look(account=account, at=at)
    reached = list(look.standings())
    holds = {}
    for action, standing in reached:
        if sentence := load_action(name=action).holds(standing=standing):
            holds[f"{BUDGETS}:{action}:{standing.budget.id.hex}"] = sentence
    _set(account.tenant, family=BUDGETS, sentences=holds)
    sentence = look.credit_sentence()
    _set(account.tenant, family=CREDIT, sentences={CREDIT: sentence} if sentence else {})
    return reached


def _set(tenant: Tenant, *, family: str, sentences: dict[str, str]) -> None:
    """Set the holds of a family, and write down what is new and what is over; a sentence whose amounts moved on is neither."""
    before = set(tenant.holds.filter(code__regex=f"^{family}(:|$)").values_list("code", flat=True))
    if not before and not sentences:
        return
    set_holds(tenant_id=tenant.id, family=family, sentences=sentences)
    for code in sorted(before ^ set(sentences)):
        put = code in sentences
        record(
            by=WATCHER, action="hold.put" if put else "hold.lifted", tenant_id=tenant.id, target_id=code, target_label=tenant.slug,
            sentence=f"stopped growth: {sentences[code]}" if put else f"lets {tenant.name} grow again, as far as its {family} is concerned",
        )  # fmt: skip


@transaction.atomic
def _act_once(action: str, reached: list[Standing]) -> None:
    """Note the rules of one budget and action that are reached, and act for the highest that nobody has noted before.

    The note is a row that there can be once: whoever comes second waits for the first one's end, and finds it. An action that fails
    takes the note back.
    """
    news = []
    for standing in reached:
        _row, made = BudgetCrossing.objects.get_or_create(
            budget=standing.budget, period_start=standing.period.start, percent=standing.percent, action=action,
            defaults={"tenant_id": standing.budget.tenant_id, "spent": standing.spent, "at": standing.at},
        )  # fmt: skip
        news += [standing] if made else []
    if not news:
        return
    standing = news[-1]
    record(
        by=WATCHER, action="budget.reached", tenant_id=standing.budget.tenant_id, target_id=str(standing.budget.id),
        target_label=standing.budget.name,
        sentence=f"saw that {standing.percent} % of the budget {standing.budget.name} are spent "
        f"({standing.words(standing.spent)} of {standing.words(standing.budget.amount)}): {action}",
        data={"percent": standing.percent, "action": action, "spent": str(standing.spent), "amount": str(standing.budget.amount)},
    )  # fmt: skip
    load_action(name=action).act(standing=standing)
