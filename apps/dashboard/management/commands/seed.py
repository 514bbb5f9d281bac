import os
import secrets
from argparse import ArgumentParser
from decimal import Decimal
from typing import Any

from allauth.account.models import EmailAddress
from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import transaction

from apps.accounts.models import User
from apps.billing.models import Price
from apps.common.clock import now
from apps.hosts.clouds import save_cloud, sync_cloud
from apps.hosts.models import Cloud, Flavor
from apps.tenants.models import Tenant
from apps.tenants.services import create_tenant

DEMO_EMAIL = "demo@example.com"
DEMO_TENANT = "demo"
LOCAL_CLOUD = "local"
# name, kind, vCPUs, memory in MiB, disk in GiB, price per hour
FLAVORS = (
    ("c1.small", "container", 1, 1024, 10, "0.010"),
    ("c1.medium", "container", 2, 2048, 20, "0.020"),
    ("c1.large", "container", 4, 4096, 40, "0.040"),
    ("v1.small", "vm", 1, 2048, 20, "0.025"),
    ("v1.large", "vm", 4, 8192, 80, "0.100"),
    ("b1.large", "baremetal", 16, 65536, 400, "0.800"),
)


class Command(BaseCommand):
    help = "Put in what a new portal starts with: the demo tenant and its owner, flavors with prices, the local cloud. Harmless to repeat."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--incus-socket", default="", help="unix socket of this machine's Incus; empty: no local hosts")
        parser.add_argument("--incus-pool", default="carina", help="its storage pool for hosts")

    def handle(self, *args: Any, **options: Any) -> None:
        _seed_flavors()
        _seed_demo()
        if options["incus_socket"]:
            _seed_local_cloud(socket=options["incus_socket"], pool=options["incus_pool"])


@transaction.atomic
def _seed_flavors() -> None:
    if Flavor.objects.exists():
        return  # prices and sizes belong to the operator from the first start on
    moment = now()
    for name, kind, vcpus, memory, disk, price in FLAVORS:
        flavor = Flavor.objects.create(name=name, host_kind=kind, vcpus=vcpus, memory_mib=memory, disk_gib=disk)
        Price.objects.create(
            flavor=flavor,
            currency=settings.CURRENCY,
            per_hour=Decimal(price),
            starts_at=moment,
            created_by="Carina (first prices)",
            created_at=moment,
        )


@transaction.atomic
def _seed_demo() -> None:
    if User.objects.filter(email=DEMO_EMAIL).exists():
        return
    password = secrets.token_urlsafe(12)
    user = User.objects.create_user(DEMO_EMAIL, password, is_staff=True, is_superuser=True)
    EmailAddress.objects.create(user=user, email=DEMO_EMAIL, verified=True, primary=True)
    if not Tenant.objects.filter(slug=DEMO_TENANT).exists():
        create_tenant(by=user, slug=DEMO_TENANT, name="Demo", personal=True)
    path = settings.VAR_DIR / "demo-password"
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as out:
        out.write(password + "\n")


def _seed_local_cloud(*, socket: str, pool: str) -> None:
    known = Cloud.objects.filter(name=LOCAL_CLOUD).first()
    wanted = {"socket": socket, "pool": pool}
    same = known is not None and {**known.settings, **wanted} == known.settings and known.public_address == settings.PUBLIC_ADDRESS
    if known is None or not same:
        known = save_cloud(
            name=LOCAL_CLOUD,
            title="This machine",
            provider="incus",
            options={**(known.settings if known else {}), **wanted},
            secrets={},
            is_default=False,
            public_address=settings.PUBLIC_ADDRESS,
            public_ports=settings.PUBLIC_PORTS,
        )
    sync_cloud(cloud=known)
