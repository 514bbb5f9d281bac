"""Drafts become invoices: rows written down for good, of several tenants at once, in the transaction of whoever has locked their accounts.

From the numbers on, everybody else who wants one waits: what can be done before is done before. A statement for each table, however many
invoices there are, is what makes ten thousand of them take a minute.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from apps.audit.models import AuditEvent
from apps.audit.services import Actor, event_of, record_all
from apps.billing.credit.grants import grant_credit, note_uses
from apps.billing.invoices.books import Books
from apps.billing.invoices.drafts import Draft
from apps.billing.invoices.numbers import next_numbers
from apps.billing.invoices.parties import customer_of, seller_of
from apps.billing.models import Account, BilledPeriod, CreditGrant, Invoice, InvoiceLine
from apps.billing.periods import local_day
from apps.common.money import in_words

US = Actor.system("invoicing")


def issue_all(*, drafts: Sequence[Draft], at: datetime, books: Books) -> list[Invoice | None]:
    """Close the period of each draft, with an invoice where it says something, and return those in the order of the drafts.

    The accounts move on to their next periods. The caller's transaction holds their locks.
    """
    saying = [draft for draft in drafts if not draft.is_nothing]
    invoices = [_invoice_of(draft, at=at, books=books) for draft in saying]
    lines = [line for draft, invoice in zip(saying, invoices, strict=True) for line in _lines_of(draft, invoice)]
    numbers = next_numbers(issuer_id=books.issuer.id, at=at, count=len(invoices)) if invoices else []
    for invoice, number in zip(invoices, numbers, strict=True):
        invoice.number = number
    Invoice.objects.bulk_create(invoices)
    InvoiceLine.objects.bulk_create(lines)
    by_account = {invoice.tenant_id: invoice for invoice in invoices}
    result = [by_account.get(draft.account.tenant_id) for draft in drafts]
    _close(drafts, result, at=at)
    for draft, invoice in zip(saying, invoices, strict=True):
        _settle(draft, invoice, at=at)
    record_all(events=[_event_of(draft, invoice) for draft, invoice in zip(saying, invoices, strict=True)])
    return result


def _invoice_of(draft: Draft, *, at: datetime, books: Books) -> Invoice:
    """Return the draft as an invoice, which has no number yet and is not saved."""
    account, issuer, tax = draft.account, books.issuer, draft.tax_terms
    paid = draft.prepaid_used if draft.gross >= 0 else draft.gross  # what is given back becomes credit, see `_settle`
    return Invoice(
        tenant=account.tenant, issuer=issuer, period_start=draft.period.start, period_end=draft.period.end, time_zone=account.time_zone,
        currency=draft.currency, plan=draft.plan.title, seller=seller_of(issuer=issuer), customer=customer_of(account=account),
        net=draft.net, tax=draft.tax, gross=draft.gross, tax_name=tax.name, tax_percent=tax.percent, tax_text=tax.text,
        note="" if draft.gross >= 0 else "The amount in your favour was added to your prepaid credit.",
        issued_at=at, due_on=local_day(at=at, zone=account.time_zone) + timedelta(days=issuer.payment_days),
        paid=paid, state=Invoice.State.OPEN if draft.gross > paid else Invoice.State.PAID,
    )  # fmt: skip


def _lines_of(draft: Draft, invoice: Invoice) -> list[InvoiceLine]:
    return [
        InvoiceLine(
            tenant_id=invoice.tenant_id, invoice=invoice, position=position, kind=line.kind, text=line.text, bay_id=line.bay_id,
            cloud_id=line.cloud_id, flavor_id=line.flavor_id, price_id=line.price_id, seconds=line.seconds, per_hour=line.per_hour,
            used_from=line.used_from, amount=line.amount,
        )
        for position, line in enumerate(draft.lines, start=1)
    ]  # fmt: skip


def _close(drafts: Sequence[Draft], invoices: Sequence[Invoice | None], *, at: datetime) -> None:
    """Move the accounts on to their next periods, with a note of how these were closed."""
    BilledPeriod.objects.bulk_create(
        BilledPeriod(
            tenant_id=draft.account.tenant_id, start=draft.period.start, end=draft.period.end, time_zone=draft.account.time_zone,
            currency=draft.currency, plan=draft.plan, invoice=invoice, closed_at=at,
        )
        for draft, invoice in zip(drafts, invoices, strict=True)
    )  # fmt: skip
    by_end = defaultdict(list)
    for draft in drafts:
        by_end[draft.period.end].append(draft.account.tenant_id)
    for end, tenants in by_end.items():
        Account.objects.filter(tenant_id__in=tenants).update(billed_until=end, late_from=None)


def _settle(draft: Draft, invoice: Invoice, *, at: datetime) -> None:
    """Use the credit the draft uses, and give as credit what is in the tenant's favour."""
    if draft.promotions or draft.prepaid:
        note_uses(invoice=invoice, uses=[*draft.promotions, *draft.prepaid], at=at)
    if draft.gross < 0:
        grant_credit(
            by=US, tenant=draft.account.tenant, kind=CreditGrant.Kind.PREPAID, amount=-draft.gross, currency=draft.currency,
            reason=f"In your favour from invoice {invoice.number}", reference=f"invoice {invoice.number}",
        )  # fmt: skip


def _event_of(draft: Draft, invoice: Invoice) -> AuditEvent:
    amount = in_words(amount=Decimal(invoice.gross), currency=invoice.currency)
    return event_of(
        by=US, action="invoice.issued", sentence=f"issued invoice {invoice.number} over {amount}", tenant_id=invoice.tenant_id,
        target_id=str(invoice.id), target_label=invoice.number,
        data={
            "period_start": draft.period.start.isoformat(), "period_end": draft.period.end.isoformat(), "gross": str(invoice.gross),
            "currency": invoice.currency,
        },
    )  # fmt: skip
