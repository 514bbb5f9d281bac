"""Announcements: where operators make and withdraw them, and where everybody puts one away."""

from uuid import UUID

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from apps.accounts.models import User
from apps.common.clock import now
from apps.common.pages import refusals_at
from apps.dashboard.announcements import announce, dismiss, every_announcement, withdraw
from apps.dashboard.forms import AnnouncementForm
from apps.dashboard.gate import operator_of, operator_page

ANNOUNCEMENTS_A_PAGE = 25


@require_http_methods(["GET", "HEAD", "POST"])
@operator_page
def announcements(request: HttpRequest) -> HttpResponse:
    """List announcements; a POST makes one."""
    if request.method != "POST":
        return _page(request, AnnouncementForm())
    form = AnnouncementForm(request.POST)
    if form.is_valid():
        asked = form.cleaned_data
        with refusals_at(form):
            announce(
                by=operator_of(request), text=asked["text"], level=asked["level"], cloud=asked["cloud"],
                starts_at=form.moment("starts_at"), ends_at=form.moment("ends_at"),
            )  # fmt: skip
            messages.success(request, _("It is announced."))
            return redirect("dashboard:operator-announcements")
    return _page(request, form)


@require_POST
@operator_page
def announcement_withdraw(request: HttpRequest, announcement_id: UUID) -> HttpResponse:
    """Take one off all pages."""
    withdraw(by=operator_of(request), announcement_id=announcement_id)
    messages.success(request, _("It is withdrawn."))
    return redirect("dashboard:operator-announcements")


@require_POST
def announcement_dismiss(request: HttpRequest, announcement_id: UUID) -> HttpResponse:
    """Put one away for the rest of the session, and go back to the page it stood on."""
    if isinstance(request.user, User):
        dismiss(session=request.session, announcement_id=announcement_id)
    back = request.POST.get("next", "")
    if not url_has_allowed_host_and_scheme(back, allowed_hosts={request.get_host()}, require_https=request.is_secure()):
        back = reverse("home")
    return redirect(back)


def _page(request: HttpRequest, form: AnnouncementForm) -> HttpResponse:
    page = Paginator(every_announcement(), ANNOUNCEMENTS_A_PAGE).get_page(request.GET.get("page"))
    context = {"form": form, "page": page, "now": now(), "tab": "announcements"}
    return render(request, "operators/announcements.html", context, status=422 if form.errors else 200)
