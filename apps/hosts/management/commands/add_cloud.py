"""Adds clouds from the command line. Secrets come from files only: the arguments of a process can be read by everybody on its machine."""

import re
from argparse import ArgumentParser
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from apps.common.errors import InvalidInput
from apps.common.names import check_name
from apps.hosts.clouds import check_ports, save_cloud, summary_of, sync_cloud
from apps.hosts.models import Cloud
from apps.hosts.providers.base import PROVIDERS
from apps.hosts.providers.openstack.clouds_yaml import CloudsYamlRefused, RegionEntry, read_clouds_file, settings_and_secrets


@dataclass(frozen=True, kw_only=True)
class Addition:
    """One cloud that is to be stored."""

    name: str
    title: str
    region: str
    options: dict[str, str]
    secrets: dict[str, str] = field(repr=False)


class Command(BaseCommand):
    help = "Add a cloud that hosts come from, or change the one of that name, and look at what it has."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="short name: lower-case letters, digits, hyphens; of several regions each gets its own behind it")
        parser.add_argument("--provider", default="incus", choices=sorted(PROVIDERS))
        parser.add_argument("--title", default="", help="what people see; default: the name")
        parser.add_argument("--default", action="store_true", help="bays go here unless asked otherwise")
        parser.add_argument(
            "--option", action="append", default=[], metavar="KEY=VALUE", help="an option of the provider, such as memory_ratio=1.5"
        )
        incus = parser.add_argument_group("Incus")
        incus.add_argument("--socket", help="unix socket of an Incus on this machine, such as /var/lib/incus/unix.socket")
        incus.add_argument("--url", help="address of a remote Incus, such as https://incus.example.net:8443")
        incus.add_argument("--client-certificate", type=Path, help="PEM file of the certificate the remote server trusts")
        incus.add_argument("--client-key", type=Path, help="PEM file of its key; stored encrypted")
        incus.add_argument("--server-certificate", type=Path, help="PEM file of the remote server's certificate, which is pinned")
        incus.add_argument("--pool", default="default", help="storage pool for the hosts' disks")
        incus.add_argument("--public-address", default=settings.PUBLIC_ADDRESS, help="address of the cloud under which bays are published")
        incus.add_argument("--public-ports", default=settings.PUBLIC_PORTS, help="ports of that address to use, such as 20000-29999")
        stack = parser.add_argument_group("OpenStack (see docs/openstack.md)")
        stack.add_argument("--clouds-yaml", type=Path, help="openstacksdk's file; a secure.yaml beside it is read too")
        stack.add_argument("--os-cloud", help="the entry of that file bays are made with")
        stack.add_argument("--region", action="append", default=[], help="only this region of the entry; may be given several times")
        stack.add_argument("--discovery-os-cloud", help="the entry of a user who may read aggregates, hypervisors and Placement")
        networks = stack.add_mutually_exclusive_group()
        networks.add_argument("--network", help="an existing network that all bays share")
        networks.add_argument("--external-network", help="each bay gets a network of its own, routed to this one, with floating IPs")

    def handle(self, *args: Any, **options: Any) -> None:
        additions = _openstack(options) if options["provider"] == "openstack" else [_incus(options)]
        for addition in additions:
            try:
                check_name(name=addition.name)
                check_ports(text=options["public_ports"])
            except InvalidInput as error:
                raise CommandError(error.detail) from error
        added = [self._add(addition, options, first=number == 0) for number, addition in enumerate(additions)]
        if silent := [cloud for cloud in added if not cloud.healthy]:
            reasons = " ".join(cloud.health_message for cloud in silent)
            raise CommandError(f"Stored, but not answering: {', '.join(c.name for c in silent)}. It is tried again every minute. {reasons}")

    def _add(self, addition: Addition, options: Mapping[str, Any], *, first: bool) -> Cloud:
        cloud = save_cloud(
            name=addition.name,
            title=addition.title,
            provider=options["provider"],
            options=addition.options,
            secrets=addition.secrets,
            is_default=options["default"] and first,
            public_address=options["public_address"],
            public_ports=options["public_ports"],
            region=addition.region,
        )
        answered = sync_cloud(cloud=cloud)
        cloud = Cloud.objects.get(id=cloud.id)
        if answered:
            self._describe(cloud)
        return cloud

    def _describe(self, cloud: Cloud) -> None:
        self.stdout.write(f"{cloud.name}: {summary_of(cloud=cloud)}")
        for aggregate in cloud.aggregates.order_by("name"):
            free = f"{aggregate.free_vcpus} vCPU, {aggregate.free_memory_mib} MiB memory, {aggregate.free_disk_gib} GiB disk"
            self.stdout.write(f"  {aggregate.name}: {aggregate.host_kind} hosts; free: {free}")
        for warning in cloud.warnings:
            self.stdout.write(f"  warning: {warning}")


def _incus(options: Mapping[str, Any]) -> Addition:
    if options["clouds_yaml"] or options["os_cloud"]:
        raise CommandError("--clouds-yaml and --os-cloud are for OpenStack: add --provider openstack.")
    if bool(options["socket"]) == bool(options["url"]):
        raise CommandError("Say where the cloud is: either --socket PATH or --url https://HOST:PORT.")
    if options["url"] and not (options["public_address"] and options["client_certificate"] and options["client_key"]):
        raise CommandError(
            "A remote cloud needs --client-certificate and --client-key to be let in, and --public-address: "
            "its hosts are reached through ports published on that address."
        )
    plain = {"pool": options["pool"]} | _given(options) | {name: options[name] for name in ("socket", "url") if options[name]}
    if options["server_certificate"]:
        plain["server_certificate"] = _read(options["server_certificate"])
    names = {"client_certificate": options["client_certificate"], "client_key": options["client_key"]}
    secrets = {name: _read(path) for name, path in names.items() if path}
    return Addition(name=options["name"], title=options["title"] or options["name"], region="", options=plain, secrets=secrets)


def _openstack(options: Mapping[str, Any]) -> list[Addition]:
    if not options["clouds_yaml"] or not options["os_cloud"]:
        raise CommandError("An OpenStack needs --clouds-yaml PATH and --os-cloud ENTRY: its address and credentials stand there.")
    given = _given(options) | {name: options[name] for name in ("network", "external_network") if options[name]}
    if not given.get("network") and not given.get("external_network"):
        raise CommandError("Say how bays reach the outside: --network NET (all share it) or --external-network NET (each has its own).")
    try:
        found = read_clouds_file(path=options["clouds_yaml"], entry=options["os_cloud"], regions=options["region"])
        return [_region(entry, options=options, given=given, alone=len(found) == 1) for entry in found]
    except CloudsYamlRefused as error:
        raise CommandError(str(error)) from error


def _region(entry: RegionEntry, *, options: Mapping[str, Any], given: Mapping[str, str], alone: bool) -> Addition:
    looker = None
    if options["discovery_os_cloud"]:
        regions = [entry.region] if entry.region else []
        looker = read_clouds_file(path=options["clouds_yaml"], entry=options["discovery_os_cloud"], regions=regions)[0]
    plain, secrets = settings_and_secrets(entry=entry, discovery=looker)
    title = options["title"] or options["name"]
    behind = "" if alone else "-" + re.sub(r"[^a-z0-9]+", "-", entry.region.lower()).strip("-")
    return Addition(
        name=options["name"] + behind,
        title=title if alone else f"{title} {entry.region}",
        region=entry.region,
        options={**plain, **given} if alone else {**plain, **given, "group": title},
        secrets=secrets,
    )


def _given(options: Mapping[str, Any]) -> dict[str, str]:
    plain = {}
    for item in options["option"]:
        key, separator, value = item.partition("=")
        if not separator or not key:
            raise CommandError(f"--option is {item!r}; write KEY=VALUE.")
        if re.search(r"password|secret|token", key):
            raise CommandError(f"--option {key} would be seen by everybody on this machine: write it into clouds.yaml or secure.yaml.")
        plain[key] = value
    return plain


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}.") from error
