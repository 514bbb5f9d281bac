"""Who may do what: service users, the endpoints' catalogue, projects and people, and the clouds.yaml that names them."""

from collections.abc import Mapping
from typing import Any

import yaml
from keystoneauth1.identity.v3 import Password
from keystoneauth1.session import Session
from openstack.connection import Connection
from openstack.identity.v3._proxy import Proxy as Identity

from carina_portal.embedded.layout import write_private
from tests.live.openstack.lab.place import CREDENTIALS, REGION, SERVICE_USERS, Credential, Place

Limits = Mapping[str, int]

CATALOGUE = {"placement": ("placement", ""), "glance": ("image", ""), "neutron": ("network", ""), "nova": ("compute", "/v2.1")}
"""Service by name: its type and the path below its address."""

WRONG_PASSWORD = "not-the-password"

PORTAL_ROLES = ("member", "reader", "carina_reader")
"""May make servers, and look at aggregates and capacity."""

# What 300 servers at once need, and then some.
COMPUTE_QUOTA = {"instances": 600, "cores": 8000, "ram": 16_000_000, "server_groups": 600, "server_group_members": 600, "key_pairs": 600}
NETWORK_QUOTA = {
    "network": 600,
    "subnet": 600,
    "port": 4000,
    "router": 600,
    "floatingip": 600,
    "security_group": 2000,
    "security_group_rule": 20_000,
}


def write_clouds_yaml(*, place: Place) -> None:
    """Write how openstacksdk reaches the lab as each of CREDENTIALS; readable by root only."""
    clouds = {name: entry(place=place, name=name) for name in CREDENTIALS}
    write_private(path=place.clouds_yaml, content=yaml.safe_dump({"clouds": clouds}, sort_keys=False))


def entry(*, place: Place, name: str, auth_url: str = "") -> dict[str, object]:
    """Return one cloud of clouds.yaml; `auth_url` replaces the address of Keystone."""
    auth = sign_in(place=place, name=name, auth_url=auth_url)
    return {"auth": auth, "region_name": REGION, "identity_api_version": "3", "interface": "public"}


def sign_in(*, place: Place, name: str, auth_url: str = "") -> dict[str, str]:
    """Return what Keystone wants to hear from one of CREDENTIALS."""
    credential = CREDENTIALS[name]
    return {
        "auth_url": auth_url or f"{place.url('identity')}/v3",
        "username": credential.user,
        "password": WRONG_PASSWORD if name == "broken" else place.password,
        "project_name": credential.project,
        "user_domain_name": "Default",
        "project_domain_name": "Default",
    }


def connect(*, place: Place, name: str, auth_url: str = "") -> Connection:
    """Return openstacksdk's connection for one of CREDENTIALS; the caller closes it."""
    options: dict[str, Any] = {**sign_in(place=place, name=name, auth_url=auth_url)}
    return Connection(session=Session(auth=Password(**options)), region_name=REGION)


def v3(connection: Connection) -> Identity:
    """Return Keystone's API, of which openstacksdk knows two versions."""
    identity = connection.identity
    assert isinstance(identity, Identity)
    return identity


def ensure(*, place: Place, admin: Connection) -> None:
    """Make roles, projects, users, services and endpoints that are not there yet."""
    identity = v3(admin)
    roles = {role.name: role for role in identity.roles()}
    for name in ("service", "carina_reader"):
        roles[name] = roles.get(name) or identity.create_role(name=name)
    projects = {project.name: project for project in identity.projects()}
    for name in sorted({"service", *(credential.project for credential in CREDENTIALS.values())}):
        projects[name] = projects.get(name) or identity.create_project(name=name, domain_id="default")
    users = {user.name: user for user in identity.users()}
    people = [Credential(name, "service", ("admin", "service")) for name in SERVICE_USERS]
    for person in [*people, *(credential for credential in CREDENTIALS.values() if credential.roles)]:
        project = projects[person.project]
        found = users.get(person.user) or identity.create_user(
            name=person.user, password=place.password, domain_id="default", default_project_id=project.id
        )
        for role in person.roles:
            identity.assign_project_role_to_user(project, found, roles[role])
    _ensure_catalogue(place=place, admin=admin)


def _ensure_catalogue(*, place: Place, admin: Connection) -> None:
    identity = v3(admin)
    known = {service.name for service in identity.services()}
    for name, (kind, path) in CATALOGUE.items():
        if name not in known:
            service = identity.create_service(name=name, type=kind)
            for interface in ("public", "internal", "admin"):
                identity.create_endpoint(service_id=service.id, interface=interface, url=place.url(kind) + path, region_id=REGION)


def add_project(*, admin: Connection, name: str, password: str) -> tuple[str, str]:
    """Make a project with one user of the same name, as an operator gives them to a portal, and return the ids of both."""
    identity = v3(admin)
    project = identity.create_project(name=name, domain_id="default")
    user = identity.create_user(name=name, password=password, domain_id="default", default_project_id=project.id)
    for role in PORTAL_ROLES:
        identity.assign_project_role_to_user(project, user, identity.find_role(role, ignore_missing=False))
    raise_quota(admin=admin, project=name)
    return str(project.id), str(user.id)


def remove_project(*, admin: Connection, project: str, user: str) -> None:
    """Delete a project that is empty and its user, by their ids."""
    identity = v3(admin)
    identity.delete_user(user)
    identity.delete_project(project)


def raise_quota(*, admin: Connection, project: str) -> None:
    """Let a project have as much as any test wants."""
    set_quota(admin=admin, project=project, compute=COMPUTE_QUOTA, network=NETWORK_QUOTA)


def set_quota(*, admin: Connection, project: str, compute: Limits | None = None, network: Limits | None = None) -> None:
    """Set limits of a project; what is not named stays as it is."""
    found = v3(admin).find_project(project, ignore_missing=False)
    if compute:
        admin.compute.update_quota_set(found, user=None, **compute)
    if network:
        admin.network.update_quota(found.id, **network)
