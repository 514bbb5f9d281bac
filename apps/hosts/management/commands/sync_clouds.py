from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from apps.hosts.clouds import summary_of, sync_cloud
from apps.hosts.models import Cloud


class Command(BaseCommand):
    help = "Look at every cloud that is switched on, or at the one named, and write down what it has."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", nargs="?", default="", help="the cloud's name; also one that is switched off")

    def handle(self, *args: Any, **options: Any) -> None:
        name = options["name"]
        clouds = Cloud.objects.filter(name=name) if name else Cloud.objects.filter(enabled=True)
        if name and not clouds.exists():
            known = ", ".join(Cloud.objects.order_by("name").values_list("name", flat=True)) or "none"
            raise CommandError(f"There is no cloud “{name}”; known are: {known}.")
        silent = [cloud.name for cloud in clouds.order_by("name") if not self._look(cloud)]
        if silent:
            raise CommandError(f"Not answered: {', '.join(silent)}.")

    def _look(self, cloud: Cloud) -> bool:
        answered = sync_cloud(cloud=cloud)
        cloud.refresh_from_db()
        self.stdout.write(f"{cloud.name}: {summary_of(cloud=cloud) if answered else cloud.health_message}")
        for warning in cloud.warnings if answered else []:
            self.stdout.write(f"  warning: {warning}")
        return answered
