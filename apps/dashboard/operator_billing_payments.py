"""Operators' page of payments: what Stripe told that waits for a person, trying again, and saying that it was dealt with."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from apps.billing.models import StripeEvent
from apps.billing.payments.attention import settle, waiting_events, waiting_rows
from apps.billing.payments.stripe_events import handle
from apps.common.errors import NotFound
from apps.dashboard.billing_forms import SettledForm
from apps.dashboard.gate import operator_of, operator_page


@require_safe
@operator_page
def payments(request: HttpRequest) -> HttpResponse:
    """Show what waits."""
    return _page(request)


@require_POST
@operator_page
def event_again(request: HttpRequest, event_id: str) -> HttpResponse:
    """Act on an event now that could not be acted upon."""
    row = handle(event_id=_known(event_id).id)
    if row.handled_at is None:
        messages.error(request, _("Still not: %s") % row.problem)
    else:
        messages.success(request, _("The event is acted upon."))
    return redirect("dashboard:operator-payments")


@require_POST
@operator_page
def event_settle(request: HttpRequest, event_id: str) -> HttpResponse:
    """Note that somebody dealt with an event."""
    row = _known(event_id)
    form = SettledForm(request.POST, auto_id=f"id_{row.id}_%s")
    if form.is_valid():
        settle(by=operator_of(request).actor, event_id=row.id, note=form.cleaned_data["note"])
        messages.success(request, _("Noted: %s is dealt with.") % row.id)
        return redirect("dashboard:operator-payments")
    return _page(request, faulty=(row.id, form))


def _known(event_id: str) -> StripeEvent:
    found = StripeEvent.objects.filter(id=event_id).first()
    if found is None:
        raise NotFound(_("There is no such event."))
    return found


def _page(request: HttpRequest, *, faulty: tuple[str, SettledForm] | None = None) -> HttpResponse:
    typed = dict([faulty]) if faulty else {}
    rows = [{"waiting": each, "form": typed.get(each.event.id) or SettledForm(auto_id=f"id_{each.event.id}_%s")} for each in waiting_rows()]
    context = {"rows": rows, "count": waiting_events().count(), "tab": "billing", "part": "payments"}
    return render(request, "operators/billing/payments.html", context, status=422 if faulty else 200)
