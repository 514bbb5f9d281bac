import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from apps.credentials.vault import VaultError
from apps.hosts.clouds import secrets_of, sync_cloud
from apps.hosts.contracts import ProviderError
from apps.hosts.images import ImagesUnusable, NodeImages, Outcome, read_images, upload
from apps.hosts.models import Cloud
from apps.hosts.providers.base import CloudAccess
from apps.hosts.providers.openstack.session import connect
from apps.hosts.recipe import build_images, cache_folder, is_built

LOCK = 0x636172
"""Our class of PostgreSQL's advisory locks for uploads: two at once would take each other's half images for leftovers."""
EVERY_SECONDS = 5.0
MIB = 1 << 20


class Command(BaseCommand):
    help = "Upload the node images of this version to the Glance of an OpenStack, and delete old ones that no host uses any more."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--cloud", required=True, help="name of the cloud, as given to add_cloud")
        parser.add_argument("--build", action="store_true", help="build the images first if there are none for this version (root)")
        parser.add_argument("--dir", type=Path, help="folder with built images; default: the cache of the user who builds")
        parser.add_argument(
            "--visibility",
            default="private",
            choices=["private", "shared", "community", "public"],
            help="who may use the images in the cloud; default: only the project of the portal",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        cloud = Cloud.objects.filter(name=options["cloud"]).first()
        if cloud is None:
            known = ", ".join(Cloud.objects.order_by("name").values_list("name", flat=True)) or "none"
            raise CommandError(f"There is no cloud {options['cloud']}. Clouds: {known}. Add one with manage.py add_cloud.")
        if cloud.provider != "openstack":
            raise CommandError(f"{cloud.name} is an {cloud.provider} cloud; node images are uploaded to OpenStack only.")
        try:
            outcome = self._upload(cloud, images=self._images(options), visibility=options["visibility"])
        except (ImagesUnusable, ProviderError, VaultError) as error:
            raise CommandError(str(error)) from error
        for verb, names in (
            ("uploaded", outcome.uploaded),
            ("already there", outcome.present),
            ("deleted, older", outcome.deleted),
            ("older, kept while hosts use it", outcome.in_use),
        ):
            for name in names:
                self.stdout.write(f"  {verb}: {name}")
        if not sync_cloud(cloud=cloud):
            cloud.refresh_from_db()
            raise CommandError(f"The images are there, but {cloud.name} could not be looked at: {cloud.health_message}")

    def _images(self, options: dict[str, Any]) -> NodeImages:
        folder = options["dir"] or cache_folder()
        if options["build"] and not is_built(folder=folder):
            self.stdout.write("Building the node images; this takes some minutes and is done once …")
            begun = time.monotonic()
            build_images(folder=folder)
            self.stdout.write(f"  built in {time.monotonic() - begun:.0f} s: {folder}")
        return read_images(folder=folder)

    def _upload(self, cloud: Cloud, *, images: NodeImages, visibility: str) -> Outcome:
        access = CloudAccess(name=cloud.name, installation=settings.INSTALLATION, settings=cloud.settings, secrets=secrets_of(cloud=cloud))
        number = cloud.id.int & 0x7FFFFFFF
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", [LOCK, number])
            if not cursor.fetchone()[0]:
                raise CommandError(f"Another upload to {cloud.name} is under way; wait for it.")
            try:
                with connect(access) as cloud_connection:
                    return upload(connection=cloud_connection, images=images, progress=self._progress(), visibility=visibility)
            finally:
                cursor.execute("SELECT pg_advisory_unlock(%s, %s)", [LOCK, number])

    def _progress(self) -> Any:
        """Return what writes progress: one line that changes on a terminal, a line now and then into a log."""
        terminal = self.stdout.isatty()
        last = time.monotonic()

        def show(name: str, sent: int, total: int) -> None:
            nonlocal last
            done = sent >= total
            if not done and time.monotonic() - last < (0.1 if terminal else EVERY_SECONDS):
                return
            last = time.monotonic()
            text = f"  {name}: {sent // MIB} of {total // MIB} MiB ({sent * 100 // max(total, 1)} %)"
            self.stdout.write(f"\r{text}\x1b[K" if terminal else text, ending="\n" if done or not terminal else "")

        return show
