"""What tests of bays on OpenStack share: a portal, projects of their own, and a look past the portal by Nova's and Neutron's own words."""

import base64
import json
import secrets
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509
from openstack.config import OpenStackConfig
from openstack.connection import Connection

from bench.client import PortalClient
from carina_portal.embedded.layout import write_private
from tests.live.openstack.lab import Lab
from tests.live.openstack.lab import identity as lab_identity
from tests.live.openstack.portal import OpenStackPortal
from tests.waiting import SECONDS, until

MICROVERSION = "2.79"
NETWORK, EXTERNAL = "carina-net", "public"
Json = dict[str, Any]


@dataclass(frozen=True)
class Found:
    """One thing in a project: `kind` as in "server", its id and name, and Nova's or Neutron's whole answer."""

    kind: str
    id: str
    name: str
    answer: Json


class Project:
    """A Keystone project with one user: what an operator gives to a portal; `id` is Keystone's.

    `everything` is what it holds, seen by the administrator.
    """

    def __init__(self, *, lab: Lab, name: str, folder: Path) -> None:
        name = f"{name}-{secrets.token_hex(3)}"  # what an interrupted session left is in nobody's way
        self.lab, self.name = lab, name
        self.clouds_yaml = folder / f"{name}.yaml"
        self.password = secrets.token_hex(12)
        self._identity = lab_identity.v3(lab.admin)
        self.id, self._user = lab_identity.add_project(admin=lab.admin, name=name, password=self.password)
        self.write_entry()

    def write_entry(self) -> None:
        """Write the file an operator adds the cloud from, with the password it has now."""
        with self.lab.clouds_yaml.open() as file:
            entry = yaml.safe_load(file)["clouds"]["admin"]
        entry["auth"] |= {"username": self.name, "password": self.password, "project_name": self.name}
        write_private(path=self.clouds_yaml, content=yaml.safe_dump({"clouds": {self.name: entry}}))

    def revoke_tokens(self) -> None:
        """Make every token of its user worthless at once, as Keystone does when a password is set, be it the same one."""
        # openstacksdk sends nothing where the new value is the old one.
        self._identity.patch(f"/users/{self._user}", json={"user": {"password": self.password}}).raise_for_status()

    def change_password(self) -> None:
        """Give its user another password; the file still has the old one until `write_entry`."""
        self.password = secrets.token_hex(12)
        self.revoke_tokens()

    def raise_quota(self) -> None:
        """Let it have as much as any test wants."""
        lab_identity.raise_quota(admin=self.lab.admin, project=self.name)

    def set_quota(self, *, compute: Mapping[str, int] | None = None, network: Mapping[str, int] | None = None) -> None:
        """Change its limits, by Nova's and Neutron's names."""
        lab_identity.set_quota(admin=self.lab.admin, project=self.name, compute=compute, network=network)

    @contextmanager
    def connected(self) -> Iterator[Connection]:
        """Act as its user, past the portal."""
        connection = connect(clouds_yaml=self.clouds_yaml, entry=self.name)
        try:
            yield connection
        finally:
            connection.close()

    def servers(self) -> list[Json]:
        """Its servers, with what only administrators see: the hypervisor, the user-data."""
        answer = self.lab.admin.compute.get(
            "/servers/detail", params={"all_tenants": "1", "project_id": self.id}, microversion=MICROVERSION
        ).json()
        return list(answer["servers"])

    def networking(self, kind: str) -> list[Json]:
        """Its things of a Neutron kind such as `ports`."""
        answer: Json = self.lab.admin.network.get(f"/{kind}", params={"project_id": self.id}).json()
        return list(answer[kind.replace("-", "_")])

    def server_groups(self) -> list[Json]:
        """Its server groups."""
        answer = self.lab.admin.compute.get("/os-server-groups", params={"all_projects": "true"}, microversion=MICROVERSION).json()
        return [group for group in answer["server_groups"] if group["project_id"] == self.id]

    def everything(self) -> list[Found]:
        """All it holds; not the security group `default`, which Neutron itself makes, nor the networks' own ports."""
        kinds = ("ports", "security-groups", "networks", "subnets", "routers", "floatingips")
        found = [Found("server", server["id"], server["name"], server) for server in self.servers()]
        found += [Found("server group", group["id"], group["name"], group) for group in self.server_groups()]
        for kind in kinds:
            found += [Found(kind, thing["id"], thing.get("name", ""), thing) for thing in self.networking(kind)]
        return [
            thing
            for thing in found
            if (thing.kind, thing.name) != ("security-groups", "default")
            and not str(thing.answer.get("device_owner", "")).startswith("network:dhcp")
        ]

    def of(self, bay: Json) -> list[Found]:
        """What carries the bay's mark."""
        mark = bay["id"].replace("-", "")
        return [thing for thing in self.everything() if mark in json.dumps(thing.answer)]

    def holds_nothing_of(self, bay: Json) -> bool:
        """Whether nothing carries the bay's mark."""
        return not self.of(bay)

    def forget(self) -> None:
        """Delete whatever is left and the project itself."""
        compute, network = self.lab.admin.compute, self.lab.admin.network
        for server in self.servers():
            compute.delete_server(server["id"], ignore_missing=True)
        until(lambda: not self.servers(), what=f"the last server of {self.name} to be gone")
        for group in self.server_groups():
            compute.delete_server_group(group["id"])
        for kind in ("floatingips", "routers", "ports", "networks", "security-groups"):
            for thing in self.networking(kind):
                if kind == "routers":
                    for port in network.ports(device_id=thing["id"]):
                        if port.device_owner == "network:router_interface":
                            network.put(f"/routers/{thing['id']}/remove_router_interface", json={"port_id": port.id})
                network.delete(f"/{kind}/{thing['id']}")
        lab_identity.remove_project(admin=self.lab.admin, project=self.id, user=self._user)


class Stage:
    """The portal and the lab it is tried on. `user` speaks REST as the demo tenant."""

    def __init__(self, *, lab: Lab, portal: OpenStackPortal, user: PortalClient) -> None:
        self.lab, self.portal, self.user = lab, portal, user

    def add_cloud(self, project: Project, *, name: str, options: Mapping[str, str] | None = None, **more: str) -> None:
        """Add the project as a cloud of the portal, or change it: on the shared network unless `external_network` says otherwise."""
        network = {} if more else {"network": NETWORK}
        self.portal.add_cloud(clouds_yaml=project.clouds_yaml, entry=project.name, name=name, options=options, **network, **more)

    def sync(self, cloud: str) -> None:
        """Have the portal look at the cloud now."""
        self.portal.manage("sync_clouds", cloud)

    @contextmanager
    def no_syncs(self, cloud: str) -> Iterator[None]:
        """Look at the cloud once more and then, as if a look took very long, not again: what happens now comes after the last look."""
        key = f"f'{{LOOKING}}:{self.cloud_id(cloud)}'"
        cache = "from django.core.cache import cache; from apps.hosts.tasks import BUSY, LOOKING\n"
        self.portal.shell(f"{cache}cache.set({key}, BUSY, timeout=600)")
        self.sync(cloud)
        try:
            yield
        finally:
            self.portal.shell(f"{cache}cache.delete({key})")

    def cloud_id(self, cloud: str) -> str:
        """The id of a cloud's row."""
        return str(self.portal.query(f"Cloud.objects.get(name={cloud!r}).id", imports="from apps.hosts.models import Cloud"))

    def sweep(self, cloud: str) -> None:
        """Have the portal look for what is left over now, as beat has it do every minute."""
        self.portal.shell(
            "from apps.bays.leftovers import sweep_cloud; from apps.hosts.models import Cloud\n"
            f"sweep_cloud(cloud=Cloud.objects.get(name={cloud!r}))"
        )

    def heal(self, name: str) -> None:
        """Press “Heal”."""
        self.user.http.post(f"bays/{name}/heal", json={}).raise_for_status()

    def active(self, *names: str, patience: float = SECONDS) -> dict[str, Json]:
        """Return the bays once all are active."""
        return {name: self.user.wait(name, patience=patience, every=0.2) for name in names}

    def failed(self, name: str, *, patience: float = SECONDS) -> Json:
        """Return the reason once the bay has ended as an error."""
        reason: Json = self.user.wait(name, status="error", patience=patience, every=0.2)["status_reason"]
        return reason

    def waits_for(self, name: str, code: str, *, patience: float = SECONDS) -> Json:
        """Return the reason once the bay's operation waits for this."""

        def look() -> Json:
            reason: Json | None = self.user.get(name)["status_reason"]
            return reason or {}

        return until(look, fits=lambda reason: reason.get("code") == code, what=f"{name} to wait for {code}", patience=patience)

    def met(self, name: str, code: str, *, patience: float = SECONDS) -> str:
        """Return the sentence with which the bay's operation first waited because of this, once it did: also if it goes on at once."""

        def look() -> list[Json]:
            return [each for each in self.events(name) if each["code"] == f"waiting.{code}"]

        return str(until(look, what=f"{name} to meet {code}", patience=patience)[-1]["message"])

    def events(self, name: str) -> list[Json]:
        """Return what happened to the bay."""
        answer = self.user.http.get(f"bays/{name}/events?limit=200").raise_for_status().json()
        return list(answer["results"])

    def refused(self, **body: Any) -> Json:
        """Return the problem with which both a create and its estimate are refused; fails if one is not."""
        wanted = {"coe": "swarm", **body}
        estimate = self.user.http.post("bays/estimate", json=wanted).raise_for_status().json()
        answer = self.user.http.post("bays", json=wanted, headers={"Idempotency-Key": secrets.token_hex(8)})
        assert answer.is_error, f"accepted: {answer.text}"
        problem: Json = answer.json()
        assert not estimate["accepted"]
        assert estimate["refusal"] == problem["detail"]
        return problem

    def gone(self, *names: str, patience: float = SECONDS) -> None:
        """Delete bays and return once they are gone."""
        for name in names:
            self.user.delete(name)
        for name in names:
            self.user.wait_gone(name, patience=patience, every=0.2)


def connect(*, clouds_yaml: Path, entry: str) -> Connection:
    """Return openstacksdk's connection of an entry."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what becomes of openstacksdk's options some day
        return Connection(config=OpenStackConfig(config_files=[str(clouds_yaml)], load_envvars=False).get_one(cloud=entry))


def certificate_of(server: Json) -> x509.Certificate:
    """Return the certificate that the server's user-data puts on the host."""
    text = base64.b64decode(server["OS-EXT-SRV-ATTR:user_data"]).decode()
    files = json.loads(text.removeprefix("#cloud-config\n"))["write_files"]
    pems = [content for each in files if b"BEGIN CERTIFICATE" in (content := base64.b64decode(each["content"]))]
    found = [certificate for pem in pems for certificate in x509.load_pem_x509_certificates(pem)]
    return next(each for each in found if each.issuer != each.subject)


def addresses_in(certificate: x509.Certificate) -> set[str]:
    """Return the addresses the certificate is for."""
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(address) for address in names.get_values_for_type(x509.IPAddress)}


def moment(text: str) -> datetime:
    """Return a time as OpenStack writes it."""
    return datetime.fromisoformat(text)


def address_of(server: Json) -> str:
    """Return the address Nova shows for a server with one."""
    return str(next(iter(server["addresses"].values()))[0]["addr"])


@contextmanager
def project_named(*, lab: Lab, name: str, folder: Path) -> Iterator[Project]:
    """A project for one module; what is in it at the end is deleted."""
    project = Project(lab=lab, name=name, folder=folder)
    try:
        yield project
    finally:
        lab.heal()
        project.forget()
