"""A real OpenStack for tests, owned by them: `with Lab() as lab: lab.connect()`."""

from tests.live.openstack.lab.lab import Lab
from tests.live.openstack.lab.place import ADDRESS, CREDENTIALS, EXTRA_SPEC, FakeHost
from tests.live.openstack.lab.world import FLAVORS, HOSTS, IMAGES

__all__ = ["ADDRESS", "CREDENTIALS", "EXTRA_SPEC", "FLAVORS", "HOSTS", "IMAGES", "FakeHost", "Lab"]
