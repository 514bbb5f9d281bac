"""From an invoice's page to where it is paid."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_POST

from apps.billing.payments.checkout import start_payment
from apps.tenants.context import Access
from apps.tenants.pages import tenant_page


@require_POST
@tenant_page
def pay(request: HttpRequest, access: Access, number: str) -> HttpResponse:
    """Begin to pay an invoice, and send the browser to where that is done."""
    return onward(request, access, url=start_payment(access=access, number=number, provider=request.POST.get("provider", "")))


def onward(request: HttpRequest, access: Access, *, url: str) -> HttpResponse:
    """Return a page that sends the browser to a provider's page by itself, and has a link to it.

    Not a redirect: browsers hold the whole chain of redirects after a POST against `form-action`, which is 'self' here, and Chromium
    stops at the first stranger. To name Stripe's host there would let every form of every page post to it, and would break with a domain
    of one's own for Stripe's pages. A header Refresh is a navigation of the page's own, which `form-action` is not about; of no seconds,
    it leaves no entry in the history, so that “back” leads to the invoice.
    https://html.spec.whatwg.org/multipage/document-lifecycle.html#the-refresh-header
    """
    response = render(request, "billing/onward.html", {"access": access, "url": url, "tab": "billing"})
    response.headers["Refresh"] = f"0;url={url}"
    return response
