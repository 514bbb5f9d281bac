"""The portal's settings for hosts on fake hypervisors: everything as it is, but for an orchestrator that does not wait for engines."""

from carina_portal.settings import *  # noqa: F403 - settings are inherited whole
from carina_portal.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.live.openstack.engineless"]
