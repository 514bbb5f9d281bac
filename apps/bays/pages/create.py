from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from apps.bays.catalogue import KindOffer, first_flavor_with_room, kinds_on_offer
from apps.bays.estimates import Estimate, estimate_create
from apps.bays.forms import CreateForm
from apps.bays.pricing import prices_for
from apps.bays.selectors import live_bays
from apps.bays.services import create_bay
from apps.bays.suggestions import suggest_name
from apps.common.errors import CarinaError
from apps.tenants.context import Access
from apps.tenants.pages import tenant_page
from apps.tenants.roles import Permission

ANY_NAME = "a"


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What the form would cost and use as it is filled in; `problem` says what is still missing or wrong."""

    estimate: Estimate | None
    problem: str


@require_http_methods(["GET", "HEAD", "POST"])
@tenant_page
def bay_new(request: HttpRequest, access: Access) -> HttpResponse:
    """Ask for a new bay, and create it when the form is sent. `preview` only shows the summary again, for browsers without scripts."""
    access.require(Permission.BAY_CREATE)
    if request.method != "POST":
        return _page(request, access, form=None)
    form = CreateForm(request.POST)
    spec = form.spec()
    if spec is None or "preview" in request.POST:
        return _page(request, access, form=form)
    try:
        bay = create_bay(access=access, spec=spec)
    except CarinaError as error:
        form.blame(error)
        return _page(request, access, form=form)
    return redirect("bays:overview", tenant=access.tenant.slug, bay=bay.name)


@require_POST
@tenant_page
def bay_estimate(request: HttpRequest, access: Access) -> HttpResponse:
    """Return the summary of the form as it is filled in."""
    access.require(Permission.BAY_CREATE)
    return render(request, "bays/_summary.html", {"access": access, "summary": _summary(access, CreateForm(request.POST))})


def _page(request: HttpRequest, access: Access, *, form: CreateForm | None) -> HttpResponse:
    prices = prices_for(tenant=access.tenant)
    kinds = kinds_on_offer(prices=prices, cloud_name=form.data.get("cloud", "") if form is not None else "")
    taken = set(live_bays(tenant=access.tenant).values_list("name", flat=True)) if form is None else set()
    first = {
        "name": suggest_name(taken=taken),
        "coe": "swarm",
        "flavor": first_flavor_with_room(kinds=kinds),
        "node_count": "1",
        "manager_count": "1",
    }
    shown = form if form is not None else CreateForm(initial=first)
    context = {
        "access": access,
        "form": shown,
        "kinds": kinds,
        "prices": prices,
        "chosen": {"coe": shown["coe"].value(), "flavor": _available(shown["flavor"].value(), kinds)},
        "summary": _summary(access, form if form is not None else CreateForm(first)),
        "nothing_offered": not any(offer.room for kind in kinds for offer in kind.offers),
    }
    preview = "preview" in request.POST
    answer = render(request, "bays/create.html", context, status=422 if shown.errors and not preview else 200)
    if preview:
        answer["HX-Trigger-After-Settle"] = "flavors-shown"  # another cloud may have brought another flavor, and its price
    return answer


def _available(flavor: str, kinds: list[KindOffer]) -> str:
    """The flavor, or where it cannot be had the smallest that can: a choice that cannot be taken would not even be sent."""
    room = {offer.flavor.name: offer.room for kind in kinds for offer in kind.offers}
    return flavor if room.get(flavor) else first_flavor_with_room(kinds=kinds) or flavor


def _summary(access: Access, form: CreateForm) -> Summary:
    spec = form.spec()
    sentence = next((str(error) for errors in form.errors.values() for error in errors), "")
    if spec is None:  # the name has no price: what else is right is still summed up
        spec = CreateForm({**{field: form.data.get(field, "") for field in form.fields}, "name": ANY_NAME}).spec()
    if spec is None:
        return Summary(estimate=None, problem=sentence or _("Fill in the form to see the price."))
    estimate = estimate_create(access=access, spec=spec)
    return Summary(estimate=estimate, problem=sentence or estimate.refusal)
