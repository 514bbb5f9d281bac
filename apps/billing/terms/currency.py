"""What operators decide about an account itself: its currency, while nothing was ever counted in it."""

from django.db import transaction

from apps.audit.services import Actor, record
from apps.bays.models import ALIVE
from apps.billing.currencies import check_currency
from apps.billing.models import Account, Budget, CreditGrant, Invoice, MeteredHost, Subscription
from apps.billing.operators import require_operator
from apps.billing.terms.accounts import account_of, plan_at
from apps.common.clock import now
from apps.common.errors import Conflict
from apps.common.scope import as_system
from apps.tenants.models import Tenant


def set_currency(*, by: Actor, tenant: Tenant, currency: str) -> Account:
    """Bill an organisation in another currency and return its account. The same again changes nothing.

    Raises Forbidden for those who are no operators, InvalidInput for an unknown currency, Conflict once anything was counted in the
    present one: hosts billed or on their way, invoices, credit, budgets, a plan with amounts.
    """
    require_operator(by=by)
    check_currency(currency=currency)
    with as_system("currency of a tenant"), transaction.atomic():
        account_of(tenant=tenant)
        account = Account.objects.select_for_update(no_key=True).get(tenant=tenant)
        if account.currency == currency:
            return account
        reason = why_currency_stays(tenant=tenant)
        if reason:
            raise Conflict(reason, code="currency_in_use")
        before, account.currency = account.currency, currency
        account.save(update_fields=["currency"])
        record(
            by=by,
            action="billing.currency_set",
            sentence=f"set the currency of {tenant.name} from {before} to {currency}",
            tenant_id=tenant.id,
            target_id=str(tenant.id),
            target_label=tenant.slug,
            data={"from": before, "to": currency},
        )
    return account


def why_currency_stays(*, tenant: Tenant) -> str:
    """Return the sentence that says why the account's currency cannot change any more; empty while it can."""
    reasons = (
        (Invoice.objects.filter(tenant=tenant), "It has invoices in its currency"),
        (MeteredHost.objects.filter(tenant=tenant), "Its hosts were billed in its currency"),
        (tenant.bays.filter(ALIVE), "It has bays, which are paid in its currency"),
        (CreditGrant.objects.filter(tenant=tenant), "It has credit in its currency"),
        (Budget.objects.filter(tenant=tenant), "It has budgets in its currency"),
        (Subscription.objects.filter(tenant=tenant).exclude(plan__currency=""), "It has a plan with amounts in its currency"),
    )
    for rows, words in reasons:
        if rows.exists():
            return f"{words}: that stays."
    if plan_at(tenant=tenant, at=now()).currency:
        return "Its plan has amounts in its currency: that stays."
    return ""
