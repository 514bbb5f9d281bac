"""A plug-in of pytest: modules that want its fixture `stage` name it in `pytest_plugins`."""

import shutil
from collections.abc import Iterator

import pytest

from tests.conftest import free_port
from tests.live.openstack.lab import Lab
from tests.live.openstack.portal import OpenStackPortal, default_var
from tests.live.openstack.scenario import Stage


@pytest.fixture(scope="session")
def stage(lab: Lab) -> Iterator[Stage]:
    """The portal, new for this session like the lab, so that neither knows things of the other that are no more."""
    var = default_var("test-openstack-portal")
    shutil.rmtree(var, ignore_errors=True)
    with OpenStackPortal(var=var, port=free_port()) as portal, portal.client() as user:
        yield Stage(lab=lab, portal=portal, user=user)
