"""Who knocks at every address: each role, each kind of stranger, tokens with a single scope; and what belongs to whom."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import uuid4

from django.test import Client
from django.test.client import ClientHandler

from apps.accounts.models import User
from apps.bays.models import Bay
from apps.billing.models import Budget, Price, StripeEvent, TaxRate
from apps.billing.terms.accounts import default_issuer, default_plan
from apps.common.clock import now
from apps.dashboard.models import Announcement
from apps.hosts.models import Flavor
from apps.operations.models import Operation
from apps.tenants.models import Invitation, QuotaRequest, ServiceAccount, Tenant
from apps.tenants.roles import Permission, Role
from tests.factories import join, make_bay, make_cloud, make_flavor, make_tenant, make_user, owner_of, token_for
from tests.integration.billing.debts import make_invoice

_handler = ClientHandler(enforce_csrf_checks=False)
"""Loads the middleware once for all knocks."""
ROLES = {role: str(role) for role in Role}
OUTSIDERS = ("anonymous", "stranger", "disabled", "removed", "staff")
SCOPES = tuple(f"scope {permission}" for permission in Permission)


@dataclass
class Person:
    """Somebody with a browser's session, an API token, both or neither."""

    name: str
    cookies: dict[str, str] = field(default_factory=dict)
    token: str = ""

    def ask(self, method: str, address: str, *, api: bool, body: str = "{}") -> Any:
        """Send one request as them, from a fresh client."""
        client = Client(raise_request_exception=False)
        client.handler = _handler
        headers = {}
        if api and self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        else:
            client.cookies.load(self.cookies)
        content: dict[str, Any] = {"data": body, "content_type": "application/json"} if api else {"data": "", "content_type": FORM}
        if method == "GET":
            content = {}
        return client.generic(method, address, headers=headers, **content)


FORM = "application/x-www-form-urlencoded"


@dataclass
class World:
    """Two tenants that have the same kinds of things, and the people at their doors."""

    people: list[Person]
    own: dict[str, str]
    foreign: dict[str, str]
    secrets: list[str]
    """Words that only what is foreign contains."""


def build() -> World:
    """Make all of it."""
    make_cloud()
    make_flavor()
    mine, theirs = make_tenant("mine"), make_tenant("theirs", owner=make_user("foreign-owner@example.com"))
    own, foreign = things_of(mine, "web"), things_of(theirs, "foreign-bay")
    shared = {"code": "not_found", "rest": "nowhere", "mail_id": "nothing", "name": "local", "key": "nothing", "uidb36": "x", "pk": "1"}
    shared |= {"provider_id": "oidc", "secret": "nothing", "flavor_id": str(Flavor.objects.get().id)}
    rate = TaxRate.objects.create(country="NL", percent=21, starts_on=now().date())
    shared |= {"price_id": str(Price.objects.get().id), "rate_id": str(rate.id)}
    event = StripeEvent.objects.create(id="evt_1", kind="refund.failed", payload={}, received_at=now(), problem="See it at Stripe.")
    shared |= {"event_id": event.id}
    shared |= {"plan_id": str(default_plan().id), "issuer_id": str(default_issuer().id)}
    announcement = Announcement.objects.create(text="Soon", starts_at=now(), created_by="x", created_at=now())
    shared |= {"announcement_id": str(announcement.id)}
    secrets = ["foreign-bay", "foreign-owner@example.com", "foreign-guest@example.com", foreign["token"], foreign["tenant_id"]]
    return World(people=people_of(mine), own={**shared, **own}, foreign={**shared, **foreign}, secrets=secrets)


def people_of(tenant: Tenant) -> list[Person]:
    """Return everybody who knocks."""
    people = [Person("anonymous")]
    for role, name in ROLES.items():
        user = owner_of(tenant) if role == Role.OWNER else make_user(f"{name}@example.com")
        if role != Role.OWNER:
            join(tenant, user, role=role)
        people.append(Person(name, cookies=session_of(user), token=token_for(tenant, user)))
    stranger = make_user("stranger@example.com")
    people.append(Person("stranger", cookies=session_of(stranger), token=token_for(make_tenant("elsewhere", owner=stranger))))
    disabled = make_user("disabled@example.com")
    join(tenant, disabled, role=Role.ADMIN)
    people.append(Person("disabled", cookies=session_of(disabled), token=token_for(tenant, disabled)))
    User.objects.filter(id=disabled.id).update(is_active=False)
    removed = make_user("removed@example.com")
    membership = join(tenant, removed, role=Role.ADMIN)
    people.append(Person("removed", cookies=session_of(removed), token=token_for(tenant, removed)))
    membership.delete()
    staff = User.objects.create_superuser("staff@example.com", "x" * 20)
    people.append(Person("staff", cookies=session_of(staff), token=token_for(make_tenant("operators-own", owner=staff))))
    people += [Person(f"scope {permission}", token=token_for(tenant, scopes=[permission])) for permission in Permission]
    return people


def session_of(user: User) -> dict[str, str]:
    """Return the cookies of somebody who is signed in."""
    client = Client()
    client.force_login(user)
    return {name: morsel.value for name, morsel in client.cookies.items()}


def things_of(tenant: Tenant, bay_name: str) -> dict[str, str]:
    """Return a value for every argument that names something of a tenant."""
    guest = "foreign-guest@example.com" if bay_name == "foreign-bay" else "guest@example.com"
    moment, owner = now(), owner_of(tenant)
    bay: Bay = make_bay(tenant, bay_name)
    member = join(tenant, make_user(), role=Role.VIEWER)
    token_for(tenant)
    token = tenant.tokens.get()
    invitation = Invitation.objects.create(
        tenant=tenant, email=guest, role=Role.VIEWER, digest=uuid4().hex, invited_by=owner.email,
        created_at=moment, sent_at=moment, expires_at=moment + timedelta(days=1),
    )  # fmt: skip
    robot = User.objects.create_user(f"{uuid4()}@service.invalid", None, is_service=True)
    join(tenant, robot, role=Role.VIEWER)
    account = ServiceAccount.objects.create(tenant=tenant, user=robot, name="robot", created_by=owner.email, created_at=moment)
    request = QuotaRequest.objects.create(tenant=tenant, wanted={"max_bays": 1000}, requested_by=owner.email, created_at=moment)
    budget = Budget.objects.create(tenant=tenant, name=bay_name, amount=100, created_by=owner.email, created_at=moment, updated_at=moment)
    invoice = make_invoice(tenant, number=f"{bay_name}-0001")
    return {
        "budget": str(budget.id), "budget_id": str(budget.id), "number": invoice.number, "invoice_id": str(invoice.id),
        "tenant": tenant.slug, "tenant_id": str(tenant.id), "bay": bay.name, "bay_id": str(bay.id),
        "operation": str(Operation.objects.filter(subject_id=bay.id).latest("created_at").id),
        "member": str(member.user_id), "member_id": str(member.user_id), "user_id": str(member.user_id),
        "token": str(token.id), "token_id": str(token.id),
        "invitation": str(invitation.id), "invitation_id": str(invitation.id),
        "account": str(account.id), "account_id": str(account.id), "request_id": str(request.id),
    }  # fmt: skip
