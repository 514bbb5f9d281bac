from django.apps import AppConfig

from apps.coes.base import COES


class EnginelessConfig(AppConfig):
    """Takes the place of Swarm in portals whose hosts boot nothing."""

    name = "tests.live.openstack.engineless"

    def ready(self) -> None:
        COES["swarm"] = "tests.live.openstack.engineless.coe.Engineless"
