"""The floor: the leanest sequence from nothing to a Swarm over mutual TLS, straight to Incus and Docker, without any code of the portal.

It makes what the portal makes (restricted project, ACL, bridge, isolated hosts with limits, certificates) and nothing more.
"""

import contextlib
import ipaddress
import json
import secrets
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PUBLIC = "0.0.0.0-9.255.255.255,11.0.0.0-169.253.255.255,169.255.0.0-172.15.255.255,172.32.0.0-192.167.255.255,192.169.0.0-223.255.255.255"
PEM = serialization.Encoding.PEM


class Authority:
    """A bay's certificate authority, in memory."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bare CA")])
        builder = self._builder(self.name, self.key).add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        self.pem = builder.sign(self.key, hashes.SHA256()).public_bytes(PEM)

    def issue(self, name: str, address: str = "") -> tuple[bytes, bytes]:
        """Return certificate and key for a client, or with an address for a server."""
        key = ec.generate_private_key(ec.SECP256R1())
        usage = [ExtendedKeyUsageOID.CLIENT_AUTH, *([ExtendedKeyUsageOID.SERVER_AUTH] if address else [])]
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = self._builder(subject, key).add_extension(x509.ExtendedKeyUsage(usage), critical=False)
        if address:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), critical=False)
        private = key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return builder.sign(self.key, hashes.SHA256()).public_bytes(PEM), private

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)  # noqa: TID251 - a script without the portal's clock
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self.name).public_key(key.public_key())
        return (
            builder.serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(now + timedelta(days=1))
        )


class Bare:
    """One cluster made by hand."""

    def __init__(self, *, socket: str, pool: str, image: str, hosts: int, folder: Path) -> None:
        self.incus = httpx.Client(transport=httpx.HTTPTransport(uds=socket), base_url="http://incus/1.0/", timeout=120)
        self.pool, self.image, self.hosts, self.folder = pool, image, hosts, folder
        self.tag = secrets.token_hex(3)
        self.net = f"10.{104 + secrets.randbelow(20)}.{secrets.randbelow(250)}"
        self.project, self.bridge, self.acl = f"bare-{self.tag}", f"bare{self.tag}", f"bare-{self.tag}"
        self.authority = Authority()

    def create(self) -> None:
        """From nothing to `docker info` with the certificates in `folder`."""
        self._credentials()
        self._network()
        with ThreadPoolExecutor(self.hosts) as pool:
            list(pool.map(self._host, range(self.hosts)))
            self._swarm(pool)
        docker_info(folder=self.folder, endpoint=f"tcp://{self.net}.10:2376")

    def delete(self) -> None:
        """Everything, hosts in parallel."""
        with ThreadPoolExecutor(self.hosts) as pool:
            list(pool.map(self._remove, range(self.hosts)))
        for path in (f"networks/{self.bridge}", f"network-acls/{self.acl}", f"projects/{self.project}"):
            self._call("DELETE", path)
        self.incus.close()

    def _call(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer = self.incus.request(method, path, content=content, headers=headers).raise_for_status().json()
        if answer["type"] == "async":
            done = self.incus.get(f"operations/{answer['metadata']['id']}/wait", params={"timeout": 120}).raise_for_status().json()
            if done["metadata"]["status_code"] != httpx.codes.OK:
                raise RuntimeError(f"{method} {path}: {done['metadata']['err']}")

    def _credentials(self) -> None:
        certificate, key = self.authority.issue("bench")
        for name, content in (("ca.pem", self.authority.pem), ("cert.pem", certificate), ("key.pem", key)):
            (self.folder / name).write_bytes(content)
        self.tls = ssl.create_default_context(cadata=self.authority.pem.decode())
        self.tls.load_cert_chain(self.folder / "cert.pem", self.folder / "key.pem")

    def _network(self) -> None:
        restricted = {f"restricted.{name}": value for name, value in {
            "containers.nesting": "allow", "containers.lowlevel": "allow", "containers.privilege": "isolated", "devices.nic": "managed",
            "devices.disk": "managed", "networks.access": self.bridge,
        }.items()}  # fmt: skip
        features = {
            "features.images": "false",
            "features.profiles": "true",
            "features.networks": "false",
            "features.storage.volumes": "true",
        }
        limits = {"limits.instances": "10", "limits.memory": "10GiB", "limits.cpu": "16", "limits.processes": "40960"}
        self._call("POST", "projects", {"name": self.project, "config": {**features, "restricted": "true", **restricted, **limits}})
        allow = {"action": "allow", "state": "enabled"}
        egress = [{**allow, "destination": f"{self.net}.2-{self.net}.254"}, {**allow, "destination": PUBLIC}]
        self._call("POST", "network-acls", {"name": self.acl, "config": {}, "ingress": [allow], "egress": egress})
        bridge = {
            "ipv4.address": f"{self.net}.1/24",
            "ipv4.nat": "true",
            "ipv4.dhcp": "false",
            "ipv6.address": "none",
            "security.acls": self.acl,
        }
        self._call("POST", "networks", {"name": self.bridge, "type": "bridge", "config": bridge})

    def _host(self, index: int) -> None:
        name, address = f"n{index}-{self.tag}", f"{self.net}.{10 + index}"
        raw = f"lxc.net.0.ipv4.address = {address}/24\nlxc.net.0.ipv4.gateway = {self.net}.1\n"
        config = {
            "security.nesting": "true", "security.idmap.isolated": "true", "security.guestapi": "false", "limits.cpu": "1",
            "limits.memory": "1GiB", "limits.processes": "4096", "raw.lxc": raw,
        }  # fmt: skip
        devices = {
            "root": {"type": "disk", "path": "/", "pool": self.pool, "size": "10GiB"},
            "eth0": {"type": "nic", "name": "eth0", "network": self.bridge},
        }
        source = {"type": "image", "alias": self.image}
        instance = {"name": name, "type": "container", "source": source, "profiles": [], "config": config, "devices": devices}
        self._call("POST", f"instances?project={self.project}", instance)
        certificate, key = self.authority.issue(name, address)
        for file, content, mode in (
            ("ca.pem", self.authority.pem, "0644"),
            ("server.pem", certificate, "0644"),
            ("server-key.pem", key, "0600"),
        ):
            headers = {"X-Incus-type": "file", "X-Incus-mode": mode, "X-Incus-uid": "0", "X-Incus-gid": "0"}
            self._call("POST", f"instances/{name}/files?project={self.project}&path=/etc/docker/tls/{file}", content, headers)
        self._call("PUT", f"instances/{name}/state?project={self.project}", {"action": "start", "timeout": 30})
        self._wait_for_engine(address)

    def _wait_for_engine(self, address: str) -> None:
        deadline = time.monotonic() + 60
        while True:
            try:
                self._docker("GET", address, "/_ping")
            except httpx.TransportError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            else:
                return

    def _docker(self, method: str, address: str, path: str, body: Any = None) -> Any:
        with httpx.Client(verify=self.tls, timeout=30) as client:
            answer = client.request(method, f"https://{address}:2376{path}", json=body).raise_for_status()
            return answer.json() if "json" in answer.headers.get("content-type", "") else answer.text

    def _swarm(self, pool: ThreadPoolExecutor) -> None:
        manager = f"{self.net}.10"

        def join(index: int) -> None:
            address = f"{self.net}.{10 + index}"
            remote = {"RemoteAddrs": [f"{manager}:2377"], "JoinToken": token}
            self._docker(
                "POST", address, "/swarm/join", {"ListenAddr": "0.0.0.0:2377", "AdvertiseAddr": address, "DataPathAddr": address, **remote}
            )

        self._docker("POST", manager, "/swarm/init", {"ListenAddr": "0.0.0.0:2377", "AdvertiseAddr": manager, "DataPathAddr": manager})
        token = self._docker("GET", manager, "/swarm")["JoinTokens"]["Worker"]
        list(pool.map(join, range(1, self.hosts)))
        while sum(node["Status"]["State"] == "ready" for node in self._docker("GET", manager, "/nodes")) < self.hosts:
            time.sleep(0.05)

    def _remove(self, index: int) -> None:
        name = f"n{index}-{self.tag}"
        self._call("PUT", f"instances/{name}/state?project={self.project}", {"action": "stop", "force": True, "timeout": 10})
        self._call("DELETE", f"instances/{name}?project={self.project}")


def docker_info(*, folder: Path, endpoint: str) -> None:
    """Run `docker info` with the certificates in `folder`; raises CalledProcessError if the engine does not let us in."""
    env = {
        "DOCKER_HOST": endpoint,
        "DOCKER_TLS_VERIFY": "1",
        "DOCKER_CERT_PATH": str(folder),
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": str(folder),
    }
    subprocess.run(["docker", "info", "--format", "{{.Swarm.LocalNodeState}}"], env=env, check=True, capture_output=True, text=True)


@contextlib.contextmanager
def timed(into: list[float]) -> Iterator[None]:
    """Append the seconds the block took."""
    started = time.perf_counter()
    yield
    into.append(time.perf_counter() - started)


def run_bare(*, socket: str, pool: str, image: str, hosts: int, created: list[float], deleted: list[float]) -> None:
    """Create and delete one cluster by hand, noting both times."""
    with tempfile.TemporaryDirectory(prefix="bare-") as folder:
        bare = Bare(socket=socket, pool=pool, image=image, hosts=hosts, folder=Path(folder))
        with timed(created):
            bare.create()
        with timed(deleted):
            bare.delete()
