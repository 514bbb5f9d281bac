"""The main job on real hosts: a bay through REST, and the real docker command with the zip's files alone."""

import json
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from bench.client import Docker, PortalClient
from carina_portal.embedded.stack import Stack
from tests.live.conftest import CloudLook, manage, pem_folder
from tests.live.work import LoadImage, bay, deploy_a_stack, eventually, nodes, run_a_container, run_a_service_over_two_hosts

pytestmark = [pytest.mark.live, pytest.mark.incus]
KERNEL_HAS_IP_VS = Path("/proc/net/ip_vs").exists()


def test_a_bay_of_one_host_grows_to_three_shrinks_to_two_and_leaves_nothing_behind(
    client: PortalClient, cloud: CloudLook, portal: Stack, tmp_path: Path, load_image: LoadImage
) -> None:
    projects = cloud.projects()
    with bay(client, hosts=1) as name:
        bay_id = client.get(name)["id"]
        docker = client.bundle(name, into=tmp_path / "with space")
        assert "Swarm: active" in docker("info")
        assert nodes(docker) == [f"{name}-1 Ready Leader"]
        load_image(docker, [host["address"] for host in client.hosts(name)])
        run_a_container(docker)

        client.resize(name, 3)
        grown = client.wait(name)
        assert (grown["node_count"], grown["health"]) == (3, "healthy")
        assert nodes(docker) == [f"{name}-1 Ready Leader", f"{name}-2 Ready", f"{name}-3 Ready"]

        client.resize(name, 2)
        shrunk = client.wait(name)
        assert shrunk["node_count"] == 2
        assert nodes(docker) == [f"{name}-1 Ready Leader", f"{name}-2 Ready"], "the drained host has left the swarm"
        assert sum(item.startswith("instances") for item in cloud.everything_of(bay_id)) == 2
        removed = [
            event["message"] for event in client.http.get(f"bays/{name}/events").json()["results"] if event["code"] == "host.removed"
        ]
        assert removed == [f"Host {name}-3 was drained and removed"]
    assert cloud.everything_of(bay_id) == []
    assert cloud.projects() <= projects, "the tenant's project goes with its last bay"


def test_services_and_stacks_run_over_two_hosts_and_reach_each_other_by_name(
    client: PortalClient, tmp_path: Path, load_image: LoadImage
) -> None:
    with bay(client, hosts=2) as name:
        docker = client.bundle(name, into=tmp_path)
        addresses = [host["address"] for host in client.hosts(name)]
        load_image(docker, addresses)
        run_a_service_over_two_hosts(docker)
        deploy_a_stack(docker, addresses=addresses, folder=tmp_path)


def test_only_a_valid_certificate_of_this_very_bay_is_let_in(client: PortalClient, portal: Stack, tmp_path: Path) -> None:
    with bay(client, hosts=1) as name, bay(client, hosts=1) as other:
        docker, stranger = client.bundle(name, into=tmp_path), client.bundle(other, into=tmp_path)
        endpoint = client.get(name)["endpoint"]
        assert docker("info", "--format", "{{.Swarm.LocalNodeState}}").strip() == "active"

        plain = subprocess.run(
            ["docker", "-H", endpoint, "info"], env={"PATH": docker.env["PATH"], "HOME": str(tmp_path)}, capture_output=True, check=False
        )
        assert plain.returncode != 0
        with pytest.raises(httpx.TransportError):
            httpx.get(endpoint.replace("tcp", "https") + "/info", verify=False, timeout=5)  # noqa: S501 - a client that trusts anybody but shows nothing
        refused = stranger("-H", endpoint, "info", check=False)
        assert "Swarm: active" not in refused
        mixed = pem_folder(
            tmp_path / "mixed", ca=(docker.folder / "ca.pem").read_text(), certificate=(stranger.folder / "cert.pem").read_text(),
            key=(stranger.folder / "key.pem").read_text(),
        )  # fmt: skip
        assert _refused_by_tls(endpoint, mixed, docker)
        assert _refused_by_tls(endpoint, _expired(portal, client.get(name)["id"], tmp_path / "expired"), docker)
        assert "Swarm: active" in docker("info"), "the right certificate is still let in"


def _refused_by_tls(endpoint: str, folder: Path, docker: Docker) -> bool:
    env = {**docker.env, "DOCKER_CERT_PATH": str(folder)}
    done = subprocess.run(["docker", "-H", endpoint, "version"], env=env, capture_output=True, text=True, check=False)
    complaint = f"{done.stdout}{done.stderr}".lower()
    return done.returncode != 0 and ("certificate" in complaint or "tls" in complaint)


def _expired(stack: Stack, bay_id: str, folder: Path) -> Path:
    """A certificate that was right in every way until a second ago."""
    code = f"""
import json
from datetime import timedelta
from apps.accounts.models import User
from apps.bays.models import Bay
from apps.credentials.services import issue_client_certificate
bay, owner = Bay.objects.get(id="{bay_id}"), User.objects.get(email="demo@example.com")
issued = issue_client_certificate(authority=bay.authority, owner=owner, lifetime=timedelta(seconds=2))
print(json.dumps([issued.ca_pem.decode(), issued.certificate_pem.decode(), issued.key_pem.decode()]))
"""
    ca, certificate, key = json.loads(manage(stack, "shell", "--no-imports", "-c", code))
    time.sleep(3)
    return pem_folder(folder, ca=ca, certificate=certificate, key=key)


@pytest.mark.parametrize(
    ("number", "health", "code"),
    [pytest.param(2, "degraded", "host_lost", id="worker"), pytest.param(1, "unreachable", "engine_not_ready", id="only manager")],
)
def test_a_lost_host_shows_as_lost_and_heal_replaces_it_at_the_same_address(
    client: PortalClient, cloud: CloudLook, portal: Stack, tmp_path: Path, number: int, health: str, code: str
) -> None:
    with bay(client, hosts=2) as name:
        docker = client.bundle(name, into=tmp_path)
        before = {host["name"]: host["address"] for host in client.hosts(name)}
        _destroy(portal, cloud, bay_id=client.get(name)["id"], number=number)
        eventually(lambda: client.get(name)["health"] == health)
        states = {host["name"]: host["state"] for host in client.hosts(name)}
        assert states[f"{name}-{number}"] == "lost"
        reason = client.get(name)["status_reason"]
        assert (reason["code"], reason["user_can_fix"]) == (code, True)

        client.http.post(f"bays/{name}/heal", json={}).raise_for_status()
        client.wait(name)
        assert {host["name"]: host["address"] for host in client.hosts(name)} == before
        assert nodes(docker) == [f"{name}-1 Ready Leader", f"{name}-2 Ready"], "the same zip opens the healed bay"
        assert client.get(name)["health"] == "healthy"


def _destroy(stack: Stack, cloud: CloudLook, *, bay_id: str, number: int) -> None:
    """Delete a host behind the portal's back, as a burnt server would."""
    assert stack.incus is not None
    instances = [item.split(" ")[1] for item in cloud.everything_of(bay_id) if item.startswith("instances")]
    lost = next(ref for ref in instances if ref.endswith(f"n{number}"))
    subprocess.run(
        ["incus", "delete", "--force", "--project", _project_of(stack, lost), lost],
        env={"INCUS_SOCKET": str(stack.incus.socket_path), "HOME": "/tmp", "PATH": "/usr/bin:/bin"}, check=True,
    )  # fmt: skip


def _project_of(stack: Stack, instance: str) -> str:
    assert stack.incus is not None
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(stack.incus.socket_path)), base_url="http://incus/1.0/") as http:
        return next(
            str(item["project"])
            for item in http.get("instances?all-projects=true&recursion=1").json()["metadata"]
            if item["name"] == instance
        )


def test_three_managers_keep_a_majority_and_are_never_resized_away(client: PortalClient, tmp_path: Path) -> None:
    with bay(client, hosts=3, manager_count=3) as name:
        docker = client.bundle(name, into=tmp_path)
        assert sorted(line.split(" ", 1)[1] for line in nodes(docker)) == ["Ready Leader", "Ready Reachable", "Ready Reachable"]
        refused = client.http.patch(f"bays/{name}", json={"node_count": 2})
        assert (refused.status_code, refused.json()["code"]) == (422, "below_quorum")


def test_users_are_told_what_does_not_work_on_a_kernel_without_ip_vs(client: PortalClient, tmp_path: Path) -> None:
    with bay(client, hosts=1) as name:
        told = [notice["code"] for notice in client.get(name)["notices"]]
        docker = client.bundle(name, into=tmp_path)
        readme = (docker.folder / "README.md").read_text()
        assert ("no_ip_vs" in told) is not KERNEL_HAS_IP_VS
        assert ("endpoint_mode: dnsrr" in readme) is not KERNEL_HAS_IP_VS
