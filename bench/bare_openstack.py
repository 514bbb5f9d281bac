"""The floor on OpenStack: one server with Docker over mutual TLS, made with openstacksdk alone, without any code of the portal.

usage: python -m bench.bare_openstack --clouds-yaml FILE --cloud NAME --flavor FLAVOR --network NETWORK [--kind container|vm] [--runs 3]

A port first, so that the certificate can name its address; then the server, with its files as user-data; then polling until
`docker info` answers. The node image must be in the cloud already (manage.py upload_images).
"""

import argparse
import base64
import contextlib
import json
import secrets
import ssl
import statistics
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
from openstack.config import OpenStackConfig
from openstack.connection import Connection

from bench.bare import Authority, docker_info

PATIENCE_SECONDS = 1200.0


@dataclass(frozen=True, kw_only=True)
class Times:
    """Seconds since the request for the server: until Nova says ACTIVE, and until `docker info` answered."""

    active: float
    answered: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clouds-yaml", type=Path, required=True)
    parser.add_argument("--cloud", required=True, help="entry of the file")
    parser.add_argument("--flavor", required=True)
    parser.add_argument("--network", required=True)
    parser.add_argument("--kind", default="container", choices=["container", "vm"])
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what becomes of openstacksdk's options some day
        entry = OpenStackConfig(config_files=[str(options.clouds_yaml)], load_envvars=False).get_one(cloud=options.cloud)
    times = []
    with Connection(config=entry) as connection:
        for _ in range(options.runs):
            times.append(run_bare_server(connection=connection, kind=options.kind, flavor=options.flavor, network=options.network))
            print(f"  ACTIVE {times[-1].active:.1f} s, docker info {times[-1].answered:.1f} s", flush=True)
    middle = statistics.median(each.answered for each in times)
    print(f"{options.kind} on {options.flavor}: docker info after {middle:.1f} s (median of {len(times)})")


def run_bare_server(*, connection: Connection, kind: str, flavor: str, network: str) -> Times:
    """Boot one server, ask its engine, delete it; raises RuntimeError if it does not come up."""
    with tempfile.TemporaryDirectory(prefix="bare-") as name, _server(connection, kind, flavor, network, Path(name)) as times:
        return times


@contextlib.contextmanager
def _server(connection: Connection, kind: str, flavor: str, network: str, folder: Path) -> Iterator[Times]:
    name = f"bare-{secrets.token_hex(3)}"
    query = {"carina_image": "carina-node-swarm", "carina_host_kind": kind, "status": "active", "sort": "created_at:desc", "limit": "1"}
    image = connection.image.get("/images", params=query).json()["images"][0]["id"]
    flavor_id = connection.compute.find_flavor(flavor, ignore_missing=False).id
    network_id = connection.network.find_network(network, ignore_missing=False).id
    authority = Authority()
    begun = time.perf_counter()
    port = connection.network.create_port(network_id=network_id, name=name)
    server = None
    try:
        address = str(port.fixed_ips[0]["ip_address"])
        server = connection.compute.create_server(
            name=name,
            flavor_id=flavor_id,
            image_id=image,
            networks=[{"port": port.id}],
            user_data=_user_data(authority, hostname=name, address=address),
            config_drive=kind == "vm",
        )
        _certificates(authority, folder)
        active = _active(connection, str(server.id)) - begun
        _answers(authority, folder, address)
        docker_info(folder=folder, endpoint=f"tcp://{address}:2376")
        yield Times(active=active, answered=time.perf_counter() - begun)
    finally:
        if server is not None:
            connection.compute.delete_server(server)
            connection.compute.wait_for_delete(server, interval=1, wait=120)
        connection.network.delete_port(port)


def _user_data(authority: Authority, *, hostname: str, address: str) -> str:
    certificate, key = authority.issue(hostname, address)
    files = {
        "/etc/hostname": (f"{hostname}\n".encode(), "0644"),
        "/etc/docker/tls/ca.pem": (authority.pem, "0644"),
        "/etc/docker/tls/server.pem": (certificate, "0644"),
        "/etc/docker/tls/server-key.pem": (key, "0600"),
    }
    entries = [
        {"path": path, "permissions": mode, "encoding": "b64", "content": base64.b64encode(content).decode()}
        for path, (content, mode) in files.items()
    ]
    return base64.b64encode(f"#cloud-config\n{json.dumps({'write_files': entries})}".encode()).decode()


def _certificates(authority: Authority, folder: Path) -> None:
    certificate, key = authority.issue("bench")
    for name, content in (("ca.pem", authority.pem), ("cert.pem", certificate), ("key.pem", key)):
        (folder / name).write_bytes(content)


def _active(connection: Connection, server_id: str) -> float:
    """Return the moment Nova said so."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        server = connection.compute.get(f"/servers/{server_id}").json()["server"]
        if server["status"] == "ACTIVE":
            return time.perf_counter()
        if server["status"] == "ERROR" or time.monotonic() > deadline:
            raise RuntimeError(f"The server is {server['status']}: {server.get('fault')}")
        time.sleep(0.5)


def _answers(authority: Authority, folder: Path, address: str) -> None:
    tls = ssl.create_default_context(cadata=authority.pem.decode())
    tls.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    deadline = time.monotonic() + PATIENCE_SECONDS
    with httpx.Client(verify=tls, timeout=5) as client:
        while True:
            try:
                client.get(f"https://{address}:2376/_ping").raise_for_status()
            except httpx.TransportError as error:
                if time.monotonic() > deadline:
                    raise RuntimeError(f"{address} does not answer: {error}") from error
                time.sleep(0.2)
            else:
                return


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        raise SystemExit(f"docker info: {error.stderr}") from error
