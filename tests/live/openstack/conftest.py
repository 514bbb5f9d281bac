"""Fixtures of tests against a real OpenStack: `lab` and `proxy`, one of each for the session, healthy before every test."""

from collections.abc import Iterator

import pytest

from tests.live.openstack.lab import Lab
from tests.live.openstack.proxy import FaultProxy
from tests.live.openstack.running import running, stop, the_lab

START_SECONDS = 900
"""For a test that has to wait for the whole OpenStack to start, on a busy machine and for the first time."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give every test time for a lab to start: any of them may be the first."""
    for item in items:
        if item.get_closest_marker("openstack") is not None and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(START_SECONDS))


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """The OpenStack; started when the first test wants it."""
    yield the_lab()
    stop()


@pytest.fixture(scope="session")
def proxy(lab: Lab) -> Iterator[FaultProxy]:
    """A way to it that breaks calls on command. The seed is the same every time."""
    with FaultProxy(lab=lab, seed=1) as proxy:
        yield proxy


@pytest.fixture(autouse=True)
def _healthy(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whatever a test killed, or told to misbehave, is well again afterwards."""
    yield
    if (lab := running()) is not None:
        lab.heal()
    if "proxy" in request.fixturenames:
        request.getfixturevalue("proxy").reset()
