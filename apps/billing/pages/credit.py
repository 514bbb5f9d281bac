"""The page of a tenant's credit: what is left, until when, and what used it."""

from datetime import timedelta

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from apps.billing.credit.grants import balance_after_spend, balance_of, grants_of
from apps.billing.models import Plan
from apps.billing.pages.credit_forms import TopUpForm
from apps.billing.pages.pay import onward
from apps.billing.payments.checkout import can_top_up, start_topup
from apps.billing.periods import local_day
from apps.billing.terms.accounts import account_of, plan_at
from apps.common.clock import now
from apps.common.pages import refusals_at
from apps.tenants.context import Access
from apps.tenants.pages import tenant_page
from apps.tenants.roles import Permission

SOON = timedelta(days=45)
USES_SHOWN = 100


@require_http_methods(["GET", "HEAD", "POST"])
@tenant_page
def credit(request: HttpRequest, access: Access) -> HttpResponse:
    """Show the balance, what of it expires soon, all grants, and the newest uses; a POST goes on to where credit is bought."""
    access.require(Permission.BILLING_READ)
    if request.method != "POST":
        return _page(request, access, TopUpForm())
    access.require(Permission.BILLING_MANAGE)
    form = TopUpForm(request.POST)
    if form.is_valid():
        with refusals_at(form):
            return onward(request, access, url=start_topup(access=access, amount=form.cleaned_data["amount"]))
    return _page(request, access, form)


def _page(request: HttpRequest, access: Access, form: TopUpForm) -> HttpResponse:
    moment = now()
    account = account_of(tenant=access.tenant)
    grants = grants_of(access=access, at=moment)
    soon = local_day(at=moment, zone=account.time_zone) + SOON
    uses = [(use, each.grant) for each in grants for use in each.grant.uses.all()]
    context = {
        "access": access,
        "form": form,
        "can_buy": can_top_up(),
        "balance": balance_of(tenant=access.tenant, at=moment),
        "after": balance_after_spend(account=account, at=moment),
        "grants": grants,
        "expiring": [each for each in grants if each.left > 0 and not each.expired and each.pays_until and each.pays_until <= soon],
        "uses": sorted(uses, key=lambda row: (row[0].at, row[0].id), reverse=True)[:USES_SHOWN],
        "prepaid": plan_at(tenant=access.tenant, at=moment).kind == Plan.Kind.PREPAID,
        "tab": "billing",
        "part": "credit",
    }
    return render(request, "billing/credit.html", context, status=422 if form.errors else 200)
