"""Configuration files, rendered from `templates/`, and the modules of ours that Nova and Neutron load."""

import shutil
from pathlib import Path
from string import Template

from carina_portal.embedded.layout import write_private
from tests.live.openstack.lab.place import ADDRESS, BRIDGE, PORTS, REGION, SERVICE_USERS, FakeHost, Place

HERE = Path(__file__).resolve().parent
ENTRY_POINTS = "[neutron.ml2.mechanism_drivers]\ncarina_lab = carina_lab.ml2:LabMechanismDriver\n"

DOWN_SECONDS, REPORT_SECONDS = 15, 3
"""A nova-compute that reported nothing for so long is called down; how often one reports."""


def write_all(*, place: Place) -> None:
    """Write what the services read, and put our modules where they find them."""
    values = _values(place)
    files = {
        "keystone/keystone.conf": "keystone.conf",
        "placement/placement.conf": "placement.conf",
        "placement/policy.yaml": "placement-policy.yaml",
        "glance/glance-api.conf": "glance-api.conf",
        "neutron/neutron.conf": "neutron.conf",
        "neutron/ml2.ini": "ml2.ini",
        "nova/nova.conf": "nova.conf",
        "nova/policy.yaml": "nova-policy.yaml",
    }
    for name, template in files.items():
        write(place.etc / name, template=template, values=values)
    # A hypervisor must not see the databases.
    write(place.etc / "nova" / "compute.conf", template="nova.conf", values={**values, "databases": ""})
    shutil.copy("/etc/glance/glance-api-paste.ini", place.etc / "glance")
    shutil.copy("/etc/nova/api-paste.ini", place.etc / "nova")
    _write_modules(place)


def write_metadata(*, place: Place) -> None:
    """Write the metadata service's configuration: there is no proxy before it, so it knows instances by their addresses."""
    write(place.etc / "nova-metadata" / "nova.conf", template="nova.conf", values={**_values(place), "metadata_by_proxy": "false"})
    shutil.copy("/etc/nova/api-paste.ini", place.etc / "nova-metadata")


def write_host(*, place: Place, host: FakeHost) -> Path:
    """Write the configuration of one fake hypervisor and return it."""
    ratios = {"cpu_ratio": "1.0", "ram_ratio": "1.0"} if host.exact else {"cpu_ratio": "16.0", "ram_ratio": "4.0"}
    path = place.etc / "nova" / f"compute-{host.name}.conf"
    write(path, template="compute-fake.conf", values={"host": host.name, "state": str(place.state), **ratios})
    return path


def write(path: Path, *, template: str, values: dict[str, str]) -> None:
    """Render a template of ours into a file that only root may read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_private(path=path, content=Template((HERE / "templates" / template).read_text()).substitute(values))


def _values(place: Place) -> dict[str, str]:
    sql = f"mysql+pymysql://os:{place.password}@{ADDRESS}:{PORTS['mariadb']}"
    databases = f"[api_database]\nconnection = {sql}/nova_api?charset=utf8\n[database]\nconnection = {sql}/nova?charset=utf8"
    accepts = f"www_authenticate_uri = {place.url('identity')}/v3\nservice_token_roles = service\nservice_token_roles_required = true\n"
    return {
        "address": ADDRESS,
        "bridge": BRIDGE,
        "password": place.password,
        "etc": str(place.etc),
        "state": str(place.state),
        "run": str(place.run),
        "sql": sql,
        "databases": databases,
        "rabbit": f"rabbit://carina:{place.password}@{ADDRESS}:{PORTS['rabbit']}/",
        # A token that was revoked is refused this many seconds later; five minutes would be the default.
        "accepts_tokens": f"{accepts}token_cache_time = 5",
        "metadata_by_proxy": "true",
        "down_seconds": str(DOWN_SECONDS),
        "report_seconds": str(REPORT_SECONDS),
        "rabbit_port": str(PORTS["rabbit"]),
        "image_port": str(PORTS["image"]),
        "network_port": str(PORTS["network"]),
        **{f"{user}_user": _sign_in(place, user) for user in SERVICE_USERS},
    }


def _sign_in(place: Place, user: str) -> str:
    """Return how a service signs in to Keystone (keystoneauth's loading options)."""
    options = {
        "auth_type": "password",
        "auth_url": f"{place.url('identity')}/v3",
        "username": user,
        "password": place.password,
        "project_name": "service",
        "user_domain_name": "Default",
        "project_domain_name": "Default",
        "region_name": REGION,
    }
    return "\n".join(f"{name} = {value}" for name, value in options.items())


def _write_modules(place: Place) -> None:
    """Neutron finds a mechanism driver by entry point, and an entry point only in something that looks installed."""
    shutil.copytree(HERE / "inside", place.python / "carina_lab", dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    about = place.python / "carina_lab-1.dist-info"
    about.mkdir(exist_ok=True)
    (about / "entry_points.txt").write_text(ENTRY_POINTS)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: carina_lab\nVersion: 1\n")
