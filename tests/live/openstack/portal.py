"""A whole portal over an OpenStack of the tests: web, worker and beat as in production, with the lab as its only cloud."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from bench.client import PortalClient
from bench.create_bay import token_of
from carina_portal.embedded import portal
from carina_portal.embedded.layout import ROOT
from carina_portal.embedded.stack import Stack
from tests.live.openstack.console import Console

LIMITS = {"max_bays": 1000, "max_hosts": 5000, "max_vcpus": 40_000, "max_memory_mib": 200_000_000, "max_disk_gib": 1_000_000}
FLAVORS = {
    "container1-4": {"host_kind": "container", "vcpus": 1, "memory_mib": 4096, "disk_gib": 20},
    "vm1-1": {"host_kind": "vm", "vcpus": 1, "memory_mib": 1024, "disk_gib": 10},
    "metal1-16": {"host_kind": "baremetal", "vcpus": 8, "memory_mib": 16384, "disk_gib": 100},
    "small1-1": {"host_kind": "container", "vcpus": 1, "memory_mib": 1024, "disk_gib": 10},
}
"""Ours, by the names and sizes of the lab's own."""

SETTINGS = "tests.live.openstack.settings"


class OpenStackPortal:
    """A portal whose bays' hosts are servers of a cloud in `clouds_yaml`; `settings` names the Django settings its programs use."""

    def __init__(self, *, var: Path, port: int, settings: str = SETTINGS, env: Mapping[str, str] | None = None) -> None:
        fast = {"CARINA_OPERATION_LEASE_SECONDS": "4", "CARINA_RATE_USER": "100000/min", "CARINA_RATE_ANONYMOUS": "10000/min"}
        self.stack = Stack(var=var, port=port, incus=False, env={"DJANGO_SETTINGS_MODULE": settings, **fast, **(env or {})})

    def __enter__(self) -> Self:
        self.stack.start()
        self._console = Console(env=portal.full_environment(self.stack.env), log=self.stack.layout.logs / "console.log")
        self.shell(f"from apps.tenants.models import Tenant\nTenant.objects.filter(slug='demo').update(**{LIMITS!r})\n")
        self.add_flavors(FLAVORS)
        return self

    def __exit__(self, *_: object) -> None:
        self._console.close()
        self.stack.stop()

    def add_flavors(self, flavors: Mapping[str, Mapping[str, Any]]) -> None:
        """Add flavors, or change them, by name with their other columns; each has a price."""
        self.shell(
            "from apps.billing.models import Price; from apps.common.clock import now; from apps.hosts.models import Flavor\n"
            "from django.conf import settings\n"
            f"for name, columns in {dict(flavors)!r}.items():\n"
            "    flavor, _ = Flavor.objects.update_or_create(name=name, defaults=columns)\n"
            "    if not flavor.prices.exists():\n"
            "        Price.objects.create(flavor=flavor, currency=settings.CURRENCY, per_hour='0.01', starts_at=now(), created_at=now(),\n"
            "                             created_by='tests')\n"
        )

    def add_cloud(self, *, clouds_yaml: Path, entry: str, name: str = "lab", options: Mapping[str, str] | None = None, **more: str) -> None:
        """Add a cloud, or change it, as an operator does; `more` are further options such as `network`."""
        arguments = ["add_cloud", name, "--provider", "openstack", "--clouds-yaml", str(clouds_yaml), "--os-cloud", entry]
        for key, value in more.items():
            arguments += [f"--{key.replace('_', '-')}", value]
        for key, value in (options or {}).items():
            arguments += ["--option", f"{key}={value}"]
        self.manage(*arguments)

    def manage(self, *arguments: str) -> str:
        """Run a management command of this portal and return what it printed; raises RuntimeError with its complaint."""
        return self.shell(f"import sys; from django.core.management import call_command; call_command(*{arguments!r}, stdout=sys.stdout)")

    def shell(self, code: str) -> str:
        """Run Python with the portal's models and return what it printed; raises RuntimeError with its traceback."""
        return self._console(code)

    def query(self, expression: str, *, imports: str) -> object:
        """Return the value of an expression over the portal's models, as JSON carries it."""
        value: object = json.loads(self.shell(f"import json\n{imports}\nprint(json.dumps({expression}, default=str))"))
        return value

    def client(self) -> PortalClient:
        """Return a client of the demo tenant's REST API."""
        return PortalClient(base_url=self.stack.base_url, token=token_of(self.stack), tenant="demo")


def default_var(name: str) -> Path:
    """Return where such a portal keeps its state, beside the other portals of tests."""
    return Path(os.environ.get("CARINA_TEST_PORTAL_VAR", str(ROOT / "var" / "test-portal"))).with_name(name)
