"""Rows for tests: small plain functions, each with the least a test must say. Operations that are submitted stay pending."""

import itertools
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.test import Client
from django.test.client import ClientHandler

from apps.accounts.models import User
from apps.bays.models import Bay, Condition, Health, Host
from apps.bays.plan import plan_hosts, plan_network
from apps.bays.services import create_bay
from apps.bays.spec import parse_spec
from apps.billing.models import Price
from apps.coes.base import load_coe
from apps.common.clock import now
from apps.hosts.contracts import HostKind
from apps.hosts.models import Aggregate, Cloud, Flavor
from apps.hosts.providers.base import CloudAccess
from apps.operations.models import Operation
from apps.operations.states import State
from apps.tenants.context import Access, access_of
from apps.tenants.models import Membership, Tenant
from apps.tenants.roles import PERMISSIONS, Role
from apps.tenants.service_accounts import create_service_account, create_service_token
from apps.tenants.tokens import create_token
from tests.doubles.memory_provider import MemoryProvider

_numbers = itertools.count(1)
_handler = ClientHandler(enforce_csrf_checks=False)
"""Loads the middleware once for all tests: WhiteNoise looks at every static file each time."""


def make_user(email: str = "", *, password: str | None = None) -> User:
    """Return a new user; without a password they cannot sign in by form."""
    return User.objects.create_user(email or f"user{next(_numbers)}@example.com", password)


def make_tenant(slug: str = "", *, owner: User | None = None, max_bays: int = 10, max_hosts: int = 50) -> Tenant:
    """Return a new tenant, owned by `owner` or by a new user."""
    slug = slug or f"team-{next(_numbers)}"
    tenant = Tenant.objects.create(slug=slug, name=slug.capitalize(), max_bays=max_bays, max_hosts=max_hosts, created_at=now())
    join(tenant, owner or make_user(), role=Role.OWNER)
    return tenant


def join(tenant: Tenant, user: User, *, role: Role) -> Membership:
    """Make `user` a member of `tenant`."""
    return Membership.objects.create(tenant=tenant, user=user, role=role, created_at=now())


def owner_of(tenant: Tenant) -> User:
    """Return the owner."""
    return tenant.memberships.select_related("user").get(role=Role.OWNER).user


def access_for(tenant: Tenant, user: User | None = None) -> Access:
    """Return the access of `user`, or of the owner."""
    return access_of(user=user or owner_of(tenant), slug=tenant.slug)


PLANNED_ON = MemoryProvider(CloudAccess(name="factories", installation="c0de", settings={}, secrets={}))
"""A cloud that leaves the choice of networks and addresses to Carina, as Incus does."""


def make_cloud(name: str = "local", *, free: int = 100, kind: HostKind = HostKind.CONTAINER, **more: Any) -> Cloud:
    """Return a healthy cloud with room for `free` hosts of one CPU, 1 GiB memory and 10 GiB disk."""
    more.setdefault("images", [{"ref": load_coe(name="swarm").image, "properties": {}}])
    cloud = Cloud.objects.create(
        name=name, title=name.capitalize(), provider="incus", is_default=not Cloud.objects.filter(is_default=True).exists(),
        healthy=True, health_message="", synced_at=now(), created_at=now(), updated_at=now(), **more,
    )  # fmt: skip
    Aggregate.objects.create(
        cloud=cloud, name="default", host_kind=kind, metadata={}, servers=1,
        total_vcpus=free, total_memory_mib=free * 1024, total_disk_gib=free * 10,
        free_vcpus=free, free_memory_mib=free * 1024, free_disk_gib=free * 10,
    )  # fmt: skip
    return cloud


def make_flavor(
    name: str = "c1.small", *, kind: HostKind = HostKind.CONTAINER, vcpus: int = 1, price: str | None = "0.010", **more: Any
) -> Flavor:
    """Return a new flavor with 1 GiB memory and 10 GiB disk a CPU, at a price that has always held, or without any."""
    flavor = Flavor.objects.create(name=name, host_kind=kind, vcpus=vcpus, memory_mib=vcpus * 1024, disk_gib=vcpus * 10, **more)
    if price is not None:
        make_price(flavor, price)
    return flavor


def make_price(
    flavor: Flavor, per_hour: str | None, *, starts_at: datetime = datetime(2000, 1, 1, tzinfo=UTC), currency: str = "USD", **more: Any
) -> Price:
    """Return a new price of the flavor; `cloud` and `tiers` as the model has them."""
    return Price.objects.create(
        flavor=flavor, per_hour=Decimal(per_hour) if per_hour is not None else None, currency=currency, starts_at=starts_at,
        created_by="tests", created_at=now(), **more,
    )  # fmt: skip


def make_bay(
    tenant: Tenant, name: str = "web", *, node_count: int = 1, manager_count: int = 1, active: bool = True, flavor: str = "c1.small"
) -> Bay:
    """Return a new bay, as the service makes it; an active one as the reconciler leaves it: network, authority, ready hosts, endpoint."""
    spec = parse_spec(data={"name": name, "coe": "swarm", "flavor": flavor, "node_count": node_count, "manager_count": manager_count})
    bay = create_bay(access=access_for(tenant), spec=spec)
    return activate(bay) if active else Bay.objects.get(id=bay.id)


def activate(bay: Bay) -> Bay:
    """Bring a bay that is being created to its end and return it anew."""
    plan_network(bay=bay, own_network=True)
    plan_hosts(bay=bay, provider=PLANNED_ON, engine_port=2376)
    moment = now()
    bay.hosts.update(state=Host.State.READY, ready_at=moment, seen_at=moment)
    first = bay.hosts.get(index=1)
    Bay.objects.filter(id=bay.id).update(
        condition=Condition.ACTIVE,
        health=Health.HEALTHY,
        endpoint=f"tcp://{first.address}:2376",
        observed_generation=bay.generation,
        observed_at=moment,
    )
    Operation.objects.filter(subject_id=bay.id).update(
        state=State.SUCCEEDED, progress=100, phase="cluster", started_at=moment, finished_at=moment, lease_token=None, lease_expires_at=None
    )
    return Bay.objects.get(id=bay.id)


def token_for(tenant: Tenant, user: User | None = None, *, scopes: Sequence[str] = (), lifetime: timedelta | None = None) -> str:
    """Return the text of a new token of `user`, or of the owner, with all the role allows unless `scopes` says less."""
    made = create_token(
        access=access_for(tenant, user), name="test", scopes=list(scopes), expires_at=now() + lifetime if lifetime else None
    )
    return made.text


def program_token(tenant: Tenant, *, role: Role = Role.VIEWER) -> str:
    """Return the text of a token of a new service account."""
    access = access_for(tenant)
    account = create_service_account(access=access, name=f"robot-{next(_numbers)}", role=role)
    scopes: list[str] = sorted(PERMISSIONS[role])
    return create_service_token(access=access, account_id=str(account.id), name="test", scopes=scopes).text


class Api:
    """A client of the REST API: JSON in and out, one token, addresses relative to /api/v1/."""

    def __init__(self, token: str = "") -> None:
        self.client = Client(raise_request_exception=False)
        self.client.handler = _handler
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """Send a request and return the answer; `body` becomes JSON, headers are named with underscores (`If_Match`)."""
        content: dict[str, Any] = {} if body is None else {"data": json.dumps(body), "content_type": "application/json"}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        address = path if path.startswith(("/", "http")) else f"/api/v1/{path}"
        return self.client.generic(method, address, headers={**self.headers, **named}, **content)

    def get(self, path: str, **headers: str) -> Any:
        """GET."""
        return self("GET", path, **headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        """POST; without a body an empty object."""
        return self("POST", path, {} if body is None else body, **headers)

    def patch(self, path: str, body: Any, **headers: str) -> Any:
        """PATCH."""
        return self("PATCH", path, body, **headers)

    def delete(self, path: str, **headers: str) -> Any:
        """DELETE."""
        return self("DELETE", path, **headers)


def api_of(tenant: Tenant, user: User | None = None, **options: Any) -> Api:
    """Return an API client with a new token of `user`, or of the owner."""
    return Api(token_for(tenant, user, **options))
