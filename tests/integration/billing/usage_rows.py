"""Usage by hand: hosts and intervals as the database writes them, without bays that are made, run and deleted."""

import itertools
from collections.abc import Sequence
from datetime import datetime
from uuid import uuid4

from apps.bays.models import Bay
from apps.billing.models import Interval, MeteredHost
from apps.hosts.models import Cloud, Flavor
from apps.tenants.models import Tenant
from tests.factories import make_bay
from tests.integration.billing.clock import at

_names = itertools.count(1)
Life = tuple[datetime, datetime | None]


def bay_of(tenant: Tenant, name: str = "", *, moment: datetime) -> Bay:
    """Return a bay that is asked for and has no host that was ever ready."""
    with at(moment):
        return make_bay(tenant, name or f"bay-{next(_names)}", active=False)


def unpriced(flavor: Flavor) -> Flavor:
    """Return a flavor like this one, which has no price."""
    like = Flavor.objects.get(id=flavor.id)
    like.id, like.name = uuid4(), f"{flavor.name}-{next(_names)}"
    like.save(force_insert=True)
    return like


def ran(bay: Bay, *lives: Life, flavor: Flavor | None = None, cloud: Cloud | None = None) -> MeteredHost:
    """Return a host of the bay that was billed during each of `lives`; one without an end runs on."""
    host = MeteredHost.objects.create(
        tenant=bay.tenant, host=uuid4(), bay=bay, cloud=cloud or bay.cloud, flavor=flavor or bay.groups.all()[0].flavor
    )
    record(host, lives)
    return host


def record(host: MeteredHost, lives: Sequence[Life]) -> None:
    """Let the host have been billed during each of `lives`."""
    for start, end in lives:
        Interval.objects.create(tenant_id=host.tenant_id, host=host, started_at=start, ended_at=end, ended_by="deleted" if end else "")
