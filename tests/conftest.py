"""Real services for every test: PostgreSQL and Redis come from `embedded exec`, which runs pytest; a whole portal with real hosts
is started once, when the first test marked `incus` or `live` wants it, with its state in `var/test-portal`.
"""

import os
import socket
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from django.db import connection

from apps.common.scope import begin_system
from bench.client import PortalClient
from bench.create_bay import token_of
from carina_portal import env
from carina_portal.embedded.layout import ROOT, is_root
from carina_portal.embedded.stack import Stack
from tests.browser import axe, browser, page
from tests.live.openstack.running import running

__all__ = ["axe", "browser", "page"]  # fixtures for every test below, one browser for all

# The whole portal is tested with the durability it has in production; only the tests' own database does without.
os.environ.pop("CARINA_POSTGRES_OPTIONS", None)

# Tests make rows of all tenants; what they ask of the portal by its pages and its API has the asker's own scope.
begin_system("tests")

_started: list[Stack] = []


def whole_portal() -> Stack:
    """Return the portal of this test session, started on first use."""
    if not _started:
        stack = Stack(var=Path(os.environ.get("CARINA_TEST_PORTAL_VAR", str(ROOT / "var" / "test-portal"))), port=free_port())
        stack.start()
        _started.append(stack)
        _forget_earlier_bays(stack)
        if stack.incus is not None:
            os.environ["CARINA_TEST_INCUS_SOCKET"] = str(stack.incus.socket_path)
            os.environ["CARINA_TEST_INCUS_POOL"] = stack.incus.pool
            os.environ["CARINA_TEST_INCUS_IMAGE"] = "carina-node-swarm"
    return _started[0]


def _forget_earlier_bays(stack: Stack) -> None:
    """Delete what an interrupted session left in this portal, so that limits and counts start from nothing."""
    with PortalClient(base_url=stack.base_url, token=token_of(stack), tenant="demo") as client:
        names = [bay["name"] for bay in client.http.get("bays?limit=200").json()["results"]]
        for name in names:
            client.http.delete(f"bays/{name}")
        for name in names:
            client.wait_gone(name)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of single suites, which pytest wants to know of from here."""
    parser.addoption("--write-walls", action="store_true", help="write tests/integration/walls/matrix.txt anew, for people to review")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Before any fixture of a test that needs real hosts: have them, or say by name why not."""
    wants_hosts = item.get_closest_marker("incus") is not None
    if not wants_hosts and item.get_closest_marker("live") is None:
        return
    if not is_root():
        pytest.skip("real hosts need root: Incus containers with their own networks cannot be made without it")
    if all(os.environ.get(f"CARINA_TEST_INCUS_{name}") for name in ("SOCKET", "POOL", "IMAGE")) and item.get_closest_marker("live") is None:
        return
    stack = whole_portal()
    if stack.incus is None:
        pytest.fail(f"this machine should have real hosts, but has none: {stack.no_hosts}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Tell what the tests' OpenStack was at when a test on it failed."""
    report = yield
    if report.failed and item.get_closest_marker("openstack") is not None and (lab := running()) is not None:
        report.sections.append(("The tests' OpenStack", lab.report()))
    return report


def pytest_sessionfinish() -> None:
    """Stop the portal with everything it started."""
    while _started:
        _started.pop().stop()


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix: None) -> None:
    """The tests' database is made, migrated and emptied by the owner's role; forced row-level security binds that one too."""
    owner = env.database("DATABASE_OWNER_URL")
    connection.settings_dict.update(USER=owner["USER"], PASSWORD=owner["PASSWORD"])


@pytest.fixture
def portal() -> Iterator[Stack]:
    """The whole portal: web, worker, beat, databases, hosts. Whatever a test killed runs again afterwards."""
    stack = whole_portal()
    yield stack
    for name in ("web", "worker", "beat"):
        if not stack.children[name].alive:
            stack.children[name].start()
    stack.wait_until_serving()


def free_port() -> int:
    """Return a TCP port of the loopback address that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
