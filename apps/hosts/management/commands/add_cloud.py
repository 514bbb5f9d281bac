from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from apps.common.errors import InvalidInput
from apps.common.names import check_name
from apps.hosts.clouds import save_cloud, sync_cloud
from apps.hosts.models import Cloud
from apps.hosts.providers.base import PROVIDERS


class Command(BaseCommand):
    help = "Add a cloud that hosts come from, or change the one of that name, and look at what it has."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="short name: lower-case letters, digits, hyphens")
        parser.add_argument("--provider", default="incus", choices=sorted(PROVIDERS))
        parser.add_argument("--title", default="", help="what people see; default: the name")
        parser.add_argument("--socket", help="unix socket of an Incus on this machine, such as /var/lib/incus/unix.socket")
        parser.add_argument("--url", help="address of a remote Incus, such as https://incus.example.net:8443")
        parser.add_argument("--client-certificate", type=Path, help="PEM file of the certificate the remote server trusts")
        parser.add_argument("--client-key", type=Path, help="PEM file of its key; stored encrypted")
        parser.add_argument("--server-certificate", type=Path, help="PEM file of the remote server's certificate, which is pinned")
        parser.add_argument("--pool", default="default", help="storage pool for the hosts' disks")
        parser.add_argument(
            "--option", action="append", default=[], metavar="KEY=VALUE", help="an option of the provider, such as memory_ratio=1.5"
        )
        parser.add_argument("--public-address", default=settings.PUBLIC_ADDRESS, help="address of the cloud under which bays are published")
        parser.add_argument("--public-ports", default=settings.PUBLIC_PORTS, help="ports of that address to use, such as 20000-29999")
        parser.add_argument("--default", action="store_true", help="bays go here unless asked otherwise")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            check_name(name=options["name"])
        except InvalidInput as error:
            raise CommandError(error.detail) from error
        if bool(options["socket"]) == bool(options["url"]):
            raise CommandError("Say where the cloud is: either --socket PATH or --url https://HOST:PORT.")
        if options["url"] and not (options["public_address"] and options["client_certificate"] and options["client_key"]):
            raise CommandError(
                "A remote cloud needs --client-certificate and --client-key to be let in, and --public-address: "
                "its hosts are reached through ports published on that address."
            )
        _check_ports(options["public_ports"])
        cloud = save_cloud(
            name=options["name"],
            title=options["title"] or options["name"],
            provider=options["provider"],
            options=_plain(options),
            secrets=_secrets(options),
            is_default=options["default"],
            public_address=options["public_address"],
            public_ports=options["public_ports"],
        )
        answered = sync_cloud(cloud=cloud)
        cloud = Cloud.objects.get(id=cloud.id)
        if not answered:
            raise CommandError(f"The cloud {cloud.name} is stored, but does not answer: {cloud.health_message}")
        self.stdout.write(f"{cloud.name}: {cloud.version}")
        for aggregate in cloud.aggregates.order_by("name"):
            free = f"{aggregate.free_vcpus} vCPU, {aggregate.free_memory_mib} MiB memory, {aggregate.free_disk_gib} GiB disk"
            self.stdout.write(f"  {aggregate.name}: {aggregate.host_kind} hosts; free: {free}")


def _plain(options: dict[str, Any]) -> dict[str, str]:
    plain = {"pool": options["pool"]}
    for item in options["option"]:
        key, separator, value = item.partition("=")
        if not separator or not key:
            raise CommandError(f"--option is {item!r}; write KEY=VALUE.")
        plain[key] = value
    for name in ("socket", "url"):
        if options[name]:
            plain[name] = options[name]
    if options["server_certificate"]:
        plain["server_certificate"] = _read(options["server_certificate"])
    return plain


def _secrets(options: dict[str, Any]) -> dict[str, str]:
    names = {"client_certificate": options["client_certificate"], "client_key": options["client_key"]}
    return {name: _read(path) for name, path in names.items() if path}


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}.") from error


def _check_ports(text: str) -> None:
    first, _, last = text.partition("-")
    if not (first.isdecimal() and last.isdecimal() and 1024 <= int(first) <= int(last) <= 65535):  # noqa: PLR2004 - TCP ports
        raise CommandError(f"--public-ports is {text!r}; write two ports between 1024 and 65535, such as 20000-29999.")
