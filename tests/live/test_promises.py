"""Promises about bays that only a whole portal can keep: restarts, publication, secrets."""

import json
import subprocess
from pathlib import Path

import httpx
import pytest

from bench.client import PortalClient
from carina_portal.embedded.stack import Stack
from tests.live.conftest import CloudLook, manage
from tests.live.work import IMAGE, LoadImage, bay, eventually, nodes, running_containers

pytestmark = [pytest.mark.live, pytest.mark.incus]
PUBLIC_ADDRESS, PUBLIC_PORTS = "127.0.0.2", "31000-31009"


def test_bays_survive_a_restart_of_portal_and_hosts_at_the_same_addresses(
    client: PortalClient, portal: Stack, tmp_path: Path, load_image: LoadImage
) -> None:
    with bay(client, hosts=2) as name:
        docker = client.bundle(name, into=tmp_path)
        before = client.get(name)
        hosts = {host["name"]: host["address"] for host in client.hosts(name)}
        load_image(docker, list(hosts.values()))
        docker("service", "create", "--detach", "--name", "sleeper", "--mode", "global", "--no-resolve-image", IMAGE, "sleep", "1000000")
        eventually(lambda: running_containers(docker, "sleeper") == 2)

        portal.stop()
        assert "Swarm: active" not in docker("info", check=False, timeout=30)
        portal.start()

        assert client.get(name)["endpoint"] == before["endpoint"]
        eventually(lambda: "Swarm: active" in docker("info", check=False))
        eventually(lambda: nodes(docker) == [f"{name}-1 Ready Leader", f"{name}-2 Ready"])
        eventually(lambda: running_containers(docker, "sleeper") == 2)
        eventually(lambda: client.get(name)["health"] == "healthy")
        assert {host["name"]: host["address"] for host in client.hosts(name)} == hosts


def test_a_published_bay_is_reached_at_the_public_address_and_its_certificate_carries_both(
    client: PortalClient, portal: Stack, cloud: CloudLook, tmp_path: Path
) -> None:
    assert portal.incus is not None
    manage(
        portal, "add_cloud", "published", "--socket", str(portal.incus.socket_path), "--pool", portal.incus.pool,
        "--public-address", PUBLIC_ADDRESS, "--public-ports", PUBLIC_PORTS,
    )  # fmt: skip
    try:
        with bay(client, hosts=2, cloud="published") as name:
            seen = client.get(name)
            assert seen["endpoint"].startswith(f"tcp://{PUBLIC_ADDRESS}:310")
            docker = client.bundle(name, into=tmp_path)
            assert docker.env["DOCKER_HOST"] == seen["endpoint"]
            assert "Swarm: active" in docker("info"), "through the public address"
            first = client.hosts(name)[0]
            assert "Swarm: active" in docker("-H", f"tcp://{first['address']}:2376", "info"), "and at its own"
        assert cloud.everything_of(seen["id"]) == []
        with pytest.raises(httpx.ConnectError):
            httpx.get(seen["endpoint"].replace("tcp", "http"), timeout=3)
    finally:
        manage(
            portal,
            "shell",
            "--no-imports",
            "-c",
            'from apps.hosts.models import Cloud; Cloud.objects.filter(name="published").update(enabled=False)',
        )


def test_walls_that_vanished_with_a_reboot_come_back_by_themselves(client: PortalClient) -> None:
    with bay(client, hosts=1) as name:
        mark = client.get(name)["id"].replace("-", "")[:12]
        table = f"carina_cb{mark}"
        tables = ["nft", "list", "tables", "inet"]
        assert table in subprocess.run(tables, capture_output=True, text=True, check=True).stdout
        subprocess.run(["nft", "delete", "table", "inet", table], check=True)
        eventually(lambda: table in subprocess.run(tables, capture_output=True, text=True, check=True).stdout, patience=90)


def test_join_tokens_and_keys_are_in_no_log_event_instance_setting_or_process_list(
    client: PortalClient, portal: Stack, tmp_path: Path
) -> None:
    with bay(client, hosts=2) as name:
        docker = client.bundle(name, into=tmp_path)
        secrets = [docker("swarm", "join-token", "--quiet", role).strip() for role in ("worker", "manager")]
        key_lines = (docker.folder / "key.pem").read_text().splitlines()
        secrets.append(max(key_lines, key=len))
        assert all(len(secret) > 40 for secret in secrets)
        assert portal.incus is not None
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(portal.incus.socket_path)), base_url="http://incus/1.0/") as incus:
            instances = incus.get("instances?all-projects=true&recursion=2").text
        places = {
            "events": client.http.get(f"bays/{name}/events").text,
            "operations": client.http.get(f"bays/{name}/operations").text,
            "instance settings": instances,
            "process list": subprocess.run(["ps", "auxeww"], capture_output=True, text=True, check=True).stdout,
            **{f"log {path.name}": path.read_text(errors="ignore") for path in portal.layout.logs.iterdir()},
        }
        found = [place for place, text in places.items() for secret in secrets if secret in text]
        assert found == []
        assert "BEGIN PRIVATE KEY" not in json.dumps(places)


def test_nothing_secret_is_readable_from_a_container_on_a_host(client: PortalClient, tmp_path: Path, load_image: LoadImage) -> None:
    with bay(client, hosts=1) as name:
        docker = client.bundle(name, into=tmp_path)
        load_image(docker, [client.hosts(name)[0]["address"]])
        names = " -o ".join(f"-xdev -name '{pattern}'" for pattern in ("*.pem", "docker.sock", "incus*"))
        script = f"busybox find / {names} 2>/dev/null; busybox env; busybox ls /dev"
        seen = docker("run", "--rm", IMAGE, "busybox", "sh", "-c", script)
        assert not any(word in seen for word in (".pem", "docker.sock", "incus", "TOKEN", "SECRET", "KEY"))
