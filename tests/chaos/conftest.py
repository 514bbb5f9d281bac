"""A portal's rows over a cloud and engines in memory."""

from collections.abc import Iterator

import pytest

from apps.coes.base import COES
from apps.hosts import clouds
from apps.hosts.providers.base import PROVIDERS
from apps.tenants.context import Access
from tests.doubles.memory_coe import engines
from tests.doubles.memory_provider import MemoryCloud, cloud_named, forget_clouds
from tests.factories import access_for, make_cloud, make_flavor, make_tenant


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryCloud]:
    monkeypatch.setitem(PROVIDERS, "incus", "tests.doubles.memory_provider.MemoryProvider")
    monkeypatch.setitem(COES, "swarm", "tests.doubles.memory_coe.MemoryCoe")
    monkeypatch.setattr("apps.operations.dispatch.send", lambda **_: None)
    forget_clouds()
    engines.clear()
    clouds._open.clear()
    yield cloud_named(name="local")
    clouds._open.clear()


@pytest.fixture
def access(world: MemoryCloud) -> Access:
    make_cloud(free=1000)
    make_flavor()
    return access_for(make_tenant())
