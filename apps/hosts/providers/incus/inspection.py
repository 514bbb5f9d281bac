"""Looking without changing: what a bay left behind, and what a host has to say for itself."""

from typing import Any

from apps.hosts.contracts import Owner, ProviderError
from apps.hosts.providers.incus.client import IncusClient
from apps.hosts.providers.incus.errors import NotThere
from apps.hosts.providers.incus.firewall import rules_of
from apps.hosts.providers.incus.naming import BAY, INSTALLATION, TENANT, bay_tags, bridge_name, carries, project_name, tenant_tags
from apps.hosts.providers.incus.network import allowed_networks, instances_in

JOURNAL = (
    "journalctl",
    "--no-pager",
    "--quiet",
    "--output=short-iso",
    "--lines=40",
    "--unit=docker",
    "--unit=containerd",
    "--unit=kubelet",
)
CONSOLE_CHARACTERS = 4000


def leftovers(*, client: IncusClient, pool: str, owner: Owner, local: bool) -> list[str]:
    """Everything that still carries the bay's tags: hosts, volumes, network, ACL, its place in the project, firewall rules."""
    project, bridge, tags = project_name(owner), bridge_name(owner), bay_tags(owner)
    volumes = _volumes(client=client, pool=pool, project=project)  # before the hosts: one that is just being made is no torso
    instances = client.get("instances", project=project, recursion="1")
    found = [f"host {instance['name']}" for instance in instances if carries(instance["config"], tags)]
    for path, word in ((f"networks/{bridge}", "network"), (f"network-acls/{bridge}", "network ACL")):
        there = client.find(path)
        if there is not None and carries(there.config, tags):
            found.append(f"{word} {bridge}")
    there = client.find(f"projects/{project}")
    if there is not None and carries(there.config, tenant_tags(owner)):
        if bridge in allowed_networks(there) or not (allowed_networks(there) or instances_in(there)):
            found.append(f"project {project}")
        # Instances take their volumes with them; one without its instance was torn off by a crash, of whichever bay of the tenant.
        names = {instance["name"] for instance in instances}
        found += [f"volume {volume['name']}" for volume in volumes if volume["name"] not in names]
    if local:
        found += rules_of(owner)
    return found


def owners(*, client: IncusClient, installation: str) -> list[Owner]:
    """Everybody of the installation with a host, a network or an ACL here."""
    everything = [
        *client.get("instances", **{"all-projects": "true", "recursion": "1"}),
        *client.get("networks", recursion="1"),
        *client.get("network-acls", recursion="1"),
    ]
    configs = [item.get("config") or {} for item in everything]
    marks = {
        (config[TENANT], config[BAY])
        for config in configs
        if config.get(INSTALLATION) == installation and config.get(TENANT) and config.get(BAY)
    }
    return [Owner(installation=installation, tenant=tenant, bay=bay) for tenant, bay in sorted(marks)]


def _volumes(*, client: IncusClient, pool: str, project: str) -> list[dict[str, Any]]:
    try:
        volumes = client.get(f"storage-pools/{pool}/volumes", project=project, recursion="1")
    except NotThere:
        return []
    return [volume for volume in volumes if volume["project"] == project and volume["type"] in {"container", "custom"}]


def diagnose(*, client: IncusClient, owner: Owner, ref: str) -> str:
    """The end of the engines' journal on the host; of its console where the journal cannot be read; empty where neither can."""
    try:
        found = client.find(f"instances/{ref}", project=project_name(owner))
        if found is None or not carries(found.config, bay_tags(owner)):
            return ""
        try:
            return run_inside(client=client, owner=owner, ref=ref, command=JOURNAL)[1].strip()
        except ProviderError:
            return client.text(f"instances/{ref}/console", project=project_name(owner))[-CONSOLE_CHARACTERS:].strip()
    except ProviderError:
        return ""


def run_inside(*, client: IncusClient, owner: Owner, ref: str, command: tuple[str, ...]) -> tuple[int, str]:
    """Run a program on a host that runs, and return its exit status and output (what it wrote to stderr last)."""
    project = project_name(owner)
    body = {"command": list(command), "record-output": True, "wait-for-websocket": False, "interactive": False}
    done = client.change("POST", f"instances/{ref}/exec", body=body, project=project)["metadata"]
    output = ""
    for stream in ("1", "2"):
        path = done["output"][stream].removeprefix("/1.0/").partition("?")[0]
        output += client.text(path, project=project)
        client.change("DELETE", path, project=project)
    return int(done["return"]), output
