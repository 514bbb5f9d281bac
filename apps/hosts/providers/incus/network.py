"""A bay's network and its tenant's project: made, kept as wanted, and taken away."""

import random
import time
from collections.abc import Callable, Sequence
from ipaddress import ip_network
from typing import Any

from apps.hosts.contracts import CloudBusy, CloudRefused, NetworkSpec, NoCapacity, Owner, ProviderError, QuotaExceeded, TenantLimits
from apps.hosts.providers.incus.client import Found, IncusClient
from apps.hosts.providers.incus.egress import Surroundings, egress_rules, gateway_of
from apps.hosts.providers.incus.errors import AlreadyThere, NotThere
from apps.hosts.providers.incus.naming import MEMBER, bay_tags, bridge_name, carries, project_name, tenant_tags

ACCESS = "restricted.networks.access"
# Bays of one tenant write the same project at once; every loser of that race looks again after a few milliseconds.
ATTEMPTS = 20
PAUSE_SECONDS = 0.03
TORSO_SECONDS = 1.5
"""A network is made in a quarter of a second; one that takes six times as long belongs to a request that died."""

PROJECT_CONFIG = {
    "features.images": "false",  # the node images of the cloud
    "features.networks": "false",  # bridges exist in the default project only
    "features.profiles": "true",  # Incus refuses to restrict a project that shares profiles
    "features.storage.volumes": "true",
    "restricted": "true",
    "restricted.containers.nesting": "allow",  # engines run containers inside hosts
    "restricted.containers.lowlevel": "allow",  # raw.lxc carries the fixed address
    "restricted.containers.privilege": "isolated",
    "restricted.devices.disk": "managed",
    "restricted.devices.nic": "managed",
    "restricted.devices.proxy": "allow",  # published endpoints
}


def ensure_project(*, client: IncusClient, owner: Owner, limits: TenantLimits) -> None:
    """Make the tenant's restricted project exist with `limits`, and let the bay's bridge be used in it.

    Limits below what the tenant's hosts already take are refused by Incus; the old ones then stay until hosts are gone.
    Raises CloudRefused when a project of that name is not ours.
    """
    path, bridge = f"projects/{project_name(owner)}", bridge_name(owner)
    held = {
        "limits.instances": str(limits.hosts),
        "limits.cpu": str(limits.vcpus),
        "limits.memory": f"{limits.memory_mib}MiB",
        "limits.processes": str(limits.processes),
    }

    def attempt() -> bool:
        found = client.find(path)
        if found is None:
            config = {**PROJECT_CONFIG, **held, **tenant_tags(owner), ACCESS: bridge}
            body = {"name": project_name(owner), "description": "Hosts of one tenant's bays", "config": config}
            client.change("POST", "projects", body=body)
            return True
        refuse_strangers(what=path, found=found, tags=tenant_tags(owner))
        config = {**found.config, **PROJECT_CONFIG, **held, ACCESS: ",".join(sorted({*allowed_networks(found), bridge}))}
        if config == found.config:
            return True
        try:
            _replace(client=client, path=path, found=found, config=config)
        except (CloudRefused, QuotaExceeded):
            unchanged = {key: found.config[key] for key in held if key in found.config}
            if config == {**config, **unchanged}:
                raise
            _replace(client=client, path=path, found=found, config={**config, **unchanged})
            return True
        # Incus compares the ETag and writes in two transactions: only a second look shows that our write was not overwritten.
        return False

    _until_done(attempt=attempt, what=path)


def allow_network(*, client: IncusClient, owner: Owner) -> None:
    """Let the bay's bridge be used in the tenant's project, after another bay's write took it out of the list."""
    path = f"projects/{project_name(owner)}"

    def attempt() -> bool:
        found = client.find(path)
        if found is None or bridge_name(owner) in allowed_networks(found):
            return True
        config = {**found.config, ACCESS: ",".join(sorted({*allowed_networks(found), bridge_name(owner)}))}
        _replace(client=client, path=path, found=found, config=config)
        return False

    _until_done(attempt=attempt, what=path)


def ensure_acl(*, client: IncusClient, spec: NetworkSpec, surroundings: Surroundings) -> None:
    """Make the bay's network ACL exist with the rules of `egress`; raises CloudRefused when one of that name is not ours."""
    name, tags = bridge_name(spec.owner), bay_tags(spec.owner)
    rules = {
        "egress": egress_rules(cidr=spec.cidr, surroundings=surroundings),
        "ingress": [{"action": "allow", "state": "enabled"}],
    }

    def attempt() -> bool:
        found = client.find(f"network-acls/{name}")
        if found is None:
            description = f"Egress of bay {spec.owner.bay}"
            client.change("POST", "network-acls", body={"name": name, "description": description, "config": tags, **rules})
            return True
        refuse_strangers(what=f"network ACL {name}", found=found, tags=tags)
        if any(_plain(found.body[way]) != _plain(rules[way]) for way in rules):
            body = {"description": found.body["description"], "config": found.config, **rules}
            client.change("PUT", f"network-acls/{name}", body=body, etag=found.etag)
        return True

    _until_done(attempt=attempt, what=f"network ACL {name}")


def ensure_bridge(*, client: IncusClient, spec: NetworkSpec, own_resolver: bool, members: Sequence[str] = ()) -> None:
    """Make the bay's bridge exist behind its ACL; `own_resolver` lets Incus answer DNS on the gateway; `members` are a cluster's servers.

    Raises CloudRefused when a network of that name is not ours, CloudBusy while Incus has not started it.
    """
    name, tags = bridge_name(spec.owner), bay_tags(spec.owner)
    wanted = {
        **tags,
        "ipv4.address": f"{gateway_of(spec.cidr)}/{ip_network(spec.cidr).prefixlen}",
        "ipv4.nat": "true",
        "ipv4.dhcp": "false",
        "ipv6.address": "none",
        # Incus watches a new dnsmasq for half a second; a network whose hosts ask other resolvers needs none.
        "dns.mode": "managed" if own_resolver else "none",
        "security.acls": name,
    }

    def attempt() -> bool:
        found = client.find(f"networks/{name}")
        # A cluster wants a network announced on every member first; it is "Pending", and nobody's, until the last request.
        if found is None or (members and found.body["status"] == "Pending" and not found.config):
            for member in members:
                _announce(client=client, name=name, member=member)
            body = {"name": name, "type": "bridge", "description": f"Hosts of bay {spec.owner.bay}", "config": wanted}
            client.change("POST", "networks", body=body)
            return True
        refuse_strangers(what=f"network {name}", found=found, tags=tags)
        if found.body["status"] != "Created":
            _drop_torso(client=client, name=name)
            return False
        config = {**found.config, **wanted}
        if config != found.config:
            client.change("PUT", f"networks/{name}", body={"description": found.body["description"], "config": config}, etag=found.etag)
        return True

    _until_done(attempt=attempt, what=f"network {name}")


def pinned_member(*, client: IncusClient, owner: Owner, group: str) -> str:
    """Return the cluster member that carries all hosts of the bay, chosen once among the online ones of `group`: the emptiest.

    A bridge does not span servers, so the bay's hosts must stand on one. The choice is kept on the network, where every worker sees it.
    Raises CloudBusy while the network is not there, NoCapacity when no member of the group is online.
    """
    path, chosen = f"networks/{bridge_name(owner)}", ""

    def attempt() -> bool:
        nonlocal chosen
        found = client.find(path)
        if found is None:
            raise CloudBusy(f"The bay's network {bridge_name(owner)} is not there yet.")
        chosen = found.config.get(MEMBER, "")
        if chosen:
            return True
        online = [
            member["server_name"]
            for member in client.get("cluster/members", recursion="1")
            if member["status"] == "Online" and (not group or group in (member["groups"] or ["default"]))
        ]
        if not online:
            raise NoCapacity(f"No server of the cluster group {group or 'default'} is online.")
        places = [instance["location"] for instance in client.get("instances", **{"all-projects": "true", "recursion": "1"})]
        config = {**found.config, MEMBER: min(online, key=places.count)}
        client.change("PUT", path, body={"description": found.body["description"], "config": config}, etag=found.etag)
        return False

    _until_done(attempt=attempt, what=path)
    return chosen


def remove_network_and_acl(*, client: IncusClient, owner: Owner) -> None:
    """Delete the bay's bridge and ACL; absent ones and ones that are not ours are left in peace. Raises CloudBusy while hosts use them."""
    name, tags = bridge_name(owner), bay_tags(owner)
    for path in (f"networks/{name}", f"network-acls/{name}"):

        def attempt(path: str = path) -> bool:
            found = client.find(path)
            if found is not None and carries(found.config, tags):
                client.change("DELETE", path)
            return True

        _until_done(attempt=attempt, what=path)


def leave_project(*, client: IncusClient, owner: Owner) -> None:
    """Take the bay's bridge out of the tenant's project, and delete the project with its last bay.

    A project that still allows other bridges serves another bay, even if that one has no host yet.
    """
    path = f"projects/{project_name(owner)}"

    def attempt() -> bool:
        found = client.find(path)
        if found is None or not carries(found.config, tenant_tags(owner)):
            return True
        others = allowed_networks(found) - {bridge_name(owner)}
        if others:
            if others != allowed_networks(found):
                _replace(client=client, path=path, found=found, config={**found.config, ACCESS: ",".join(sorted(others))})
            return True
        if instances_in(found):
            return True
        client.change("DELETE", path)
        return True

    _until_done(attempt=attempt, what=path)


def allowed_networks(project: Found) -> set[str]:
    """The networks hosts in the project may be connected to."""
    return {name for name in project.config.get(ACCESS, "").split(",") if name}


def instances_in(project: Found) -> list[str]:
    """What the project holds besides its default profile."""
    return [use for use in project.body.get("used_by") or [] if "/profiles/default" not in use and "/images/" not in use]


def refuse_strangers(*, what: str, found: Found, tags: dict[str, str]) -> None:
    """Raise CloudRefused when an object that has our name was not made by us for this owner."""
    if not carries(found.config, tags):
        raise CloudRefused(f"Incus already has {what}, which this portal did not make for this bay: rename or delete it.")


def _replace(*, client: IncusClient, path: str, found: Found, config: dict[str, str]) -> None:
    # Never PATCH a project: what a PATCH leaves out counts as its default, and Incus then refuses to "enable" features.
    client.change("PUT", path, body={"description": found.body["description"], "config": config}, etag=found.etag)


def _drop_torso(*, client: IncusClient, name: str) -> None:
    """Wait until Incus has made the network, and delete one that it will never finish.

    A worker that dies in the middle of the request takes its connection with it, and Incus then stops where it stands: the network stays
    "Pending" for ever. Nobody else makes it meanwhile, since only one operation of a bay runs at a time. Raises CloudBusy while in use.
    """
    deadline = time.monotonic() + TORSO_SECONDS
    while (found := client.find(f"networks/{name}")) is not None and found.body["status"] != "Created":
        if time.monotonic() > deadline:
            break
        time.sleep(PAUSE_SECONDS)
    else:
        return
    if found.body.get("used_by"):
        raise CloudBusy(f"Incus says of network {name}: {found.body['status']}, although hosts use it.")
    client.change("DELETE", f"networks/{name}")


def _announce(*, client: IncusClient, name: str, member: str) -> None:
    try:
        client.change("POST", "networks", body={"name": name, "type": "bridge"}, target=member)
    except AlreadyThere:
        return


def _plain(rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    # Incus sorts rules and adds empty fields.
    return sorted(({key: value for key, value in rule.items() if value} for rule in rules), key=repr)


def _until_done(*, attempt: Callable[[], bool], what: str) -> None:
    last: ProviderError | None = None
    for _ in range(ATTEMPTS):
        try:
            if attempt():
                return
        except (CloudBusy, NotThere) as error:
            last = error
            time.sleep(random.uniform(0, PAUSE_SECONDS))  # noqa: S311  # spreading out, not a secret
    raise CloudBusy(f"Incus does not come to an end with {what}: {last or 'others keep changing it'}") from last
