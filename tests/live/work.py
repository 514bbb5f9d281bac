"""What people do with a bay, done with the real docker command, so that bays made in every way are put to the same work."""

import contextlib
import json
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx

from bench.client import Docker, PortalClient

IMAGE = "carina-test:1"
ASK = "exec 3<>/dev/tcp/{name}/8080; printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3"
LoadImage = Callable[[Docker, list[str]], None]


@contextlib.contextmanager
def bay(client: PortalClient, *, hosts: int, **more: Any) -> Iterator[str]:
    """A bay for the length of the block."""
    name = f"live-{secrets.token_hex(3)}"
    client.create(name=name, node_count=hosts, **more)
    try:
        client.wait(name)
        yield name
    finally:
        with contextlib.suppress(RuntimeError):
            client.delete(name)
        client.wait_gone(name)


def nodes(docker: Docker) -> list[str]:
    lines = docker("node", "ls", "--format", "{{json .}}").splitlines()
    return sorted(f"{node['Hostname']} {node['Status']} {node['ManagerStatus']}".strip() for node in map(json.loads, lines))


def running_containers(docker: Docker, service: str) -> int:
    states = docker("service", "ps", service, "--filter", "desired-state=running", "--format", "{{.CurrentState}}").splitlines()
    return sum(state.startswith("Running") for state in states)


def eventually(check: Callable[[], object], *, patience: float = 60.0) -> None:
    """Return once `check` holds; fails with what it last said."""
    deadline = time.monotonic() + patience
    while not (seen := check()):
        assert time.monotonic() < deadline, f"still {seen!r} after {patience} s"
        time.sleep(0.2)


def run_a_container(docker: Docker) -> None:
    """A container from an image that was made on the spot, with limits that hold."""
    assert docker("run", "--rm", IMAGE, "busybox", "echo", "hello from a container") == "hello from a container\n"
    read_limit = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null; true"
    limit = docker("run", "--rm", "--memory", "64m", "--cpus", "0.5", IMAGE, "bash", "-c", read_limit)
    assert limit.strip() == str(64 * 1024 * 1024)


def run_a_service_over_two_hosts(docker: Docker) -> None:
    """A service whose containers, one on each of two hosts, are reached by one name from a third container."""
    docker("network", "create", "--driver", "overlay", "--attachable", "backend")
    serve = "hostname >/www/index.html; exec busybox httpd -f -p 8080 -h /www"
    spread = ("--mode", "global", "--network", "backend", "--endpoint-mode", "dnsrr", "--no-resolve-image")
    docker("service", "create", "--detach", "--name", "web", *spread, IMAGE, "busybox", "sh", "-c", serve)
    eventually(lambda: running_containers(docker, "web") == 2)
    answers: set[str] = set()

    def both_answer() -> bool:
        # Names of new containers travel between hosts by gossip; until then a look-up may fail.
        said = docker("run", "--rm", "--network", "backend", IMAGE, "bash", "-c", ASK.format(name="web"), check=False)
        answers.update(said.splitlines()[-1:] if "200 OK" in said else [])
        return len(answers) == 2

    eventually(both_answer)


def deploy_a_stack(docker: Docker, *, addresses: list[str], folder: Path) -> None:
    """A compose file, deployed as it is, whose published port answers on every host."""
    compose = folder / "compose.yml"
    compose.write_text(
        f"""
services:
  shop:
    image: {IMAGE}
    command: [busybox, httpd, -f, -p, "8080", -h, /www]
    ports: [{{target: 8080, published: 8081, mode: host}}]
    deploy: {{mode: global, endpoint_mode: dnsrr, resources: {{limits: {{cpus: "0.5", memory: 64M}}}}}}
"""
    )
    docker("stack", "deploy", "--detach=true", "--resolve-image", "never", "--compose-file", str(compose), "shop")
    eventually(lambda: running_containers(docker, "shop_shop") == 2)
    for address in addresses:
        eventually(lambda address=address: _says_hello(f"http://{address}:8081/"), patience=20)  # type: ignore[misc]


def _says_hello(url: str) -> bool:
    try:
        return httpx.get(url, timeout=3).text == "hello\n"
    except httpx.TransportError:
        return False
