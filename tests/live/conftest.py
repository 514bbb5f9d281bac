"""What live tests share: a user of the running portal, images made on the spot, and a look at the cloud past the portal."""

import io
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from bench.client import Docker, PortalClient
from bench.create_bay import token_of
from carina_portal.embedded.image import recipe_hash
from carina_portal.embedded.layout import ROOT, cache_dir
from carina_portal.embedded.portal import full_environment
from carina_portal.embedded.stack import Stack
from tests.conftest import whole_portal
from tests.live.work import IMAGE, LoadImage


@pytest.fixture(scope="module")
def client() -> Iterator[PortalClient]:
    """The demo user over REST."""
    stack = whole_portal()
    with PortalClient(base_url=stack.base_url, token=token_of(stack), tenant="demo") as client:
        yield client


@pytest.fixture(scope="session")
def image_tar() -> bytes:
    """A root file system with bash, libc and busybox, out of the node image: enough for a web server and for clients that look up names."""
    wanted = ("usr/bin/bash", "usr/bin/busybox", "usr/bin/cat", "usr/bin/sleep", "usr/bin/hostname")
    libraries = ("libc.so.6", "libtinfo.so.6", "libresolv.so.2", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1")
    out = io.BytesIO()
    with tarfile.open(cache_dir() / "images" / recipe_hash() / "rootfs.tar") as root, tarfile.open(fileobj=out, mode="w") as image:
        for member in root:
            path = member.name.removeprefix("./")
            name = path.rsplit("/", 1)[-1]
            link = path in {"bin", "lib", "lib64"} or path.endswith("/lib64")
            if path in wanted or link or any(name == library or name.startswith(library.split(".so")[0] + ".so") for library in libraries):
                member.name = path
                image.addfile(member, root.extractfile(member) if member.isreg() else None)
        for path, text in (
            ("etc/nsswitch.conf", "hosts: files dns\n"),
            ("etc/passwd", "root:x:0:0:root:/:/bin/bash\n"),
            ("www/index.html", "hello\n"),
        ):
            entry = tarfile.TarInfo(path)
            entry.size = len(text)
            image.addfile(entry, io.BytesIO(text.encode()))
    return out.getvalue()


@pytest.fixture
def load_image(image_tar: bytes) -> LoadImage:
    """Put the image onto engines: there is no registry here, and every host of a bay answers to the bay's certificates."""

    def load(docker: Docker, addresses: list[str]) -> None:
        for address in addresses:
            docker("-H", f"tcp://{address}:2376", "import", "-", IMAGE, stdin=image_tar)

    return load


class CloudLook:
    """Everything the Incus server knows of one bay."""

    def __init__(self, stack: Stack) -> None:
        assert stack.incus is not None
        self._http = httpx.Client(transport=httpx.HTTPTransport(uds=str(stack.incus.socket_path)), base_url="http://incus/1.0/", timeout=30)

    def everything_of(self, bay_id: str) -> list[str]:
        """Names of instances, networks, ACLs, volumes and firewall rules that carry the bay's id in tag or name."""
        mark = bay_id.replace("-", "")
        found = []
        for path in ("instances?all-projects=true&recursion=1", "networks?recursion=1", "network-acls?recursion=1", "projects?recursion=1"):
            found += [f"{path.split('?')[0]} {item['name']}" for item in self._get(path) if self._belongs(item, mark)]
        for pool in self._get("storage-pools"):
            volumes = self._get(f"{pool.removeprefix('/1.0/')}/volumes?all-projects=true&recursion=1")
            found += [f"volume {volume['name']}" for volume in volumes if mark[:10] in volume["name"]]
        rules = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=True).stdout
        rules += subprocess.run(["iptables-save"], capture_output=True, text=True, check=False).stdout
        return found + [f"firewall {line.strip()}" for line in rules.splitlines() if mark[:8] in line]

    def projects(self) -> set[str]:
        """Names of all projects."""
        return {project["name"] for project in self._get("projects?recursion=1")}

    def bays_in(self, project: str) -> set[str]:
        """Ids of the bays whose hosts are in the project."""
        return {instance["config"]["user.carina.bay"] for instance in self._get(f"instances?project={project}&recursion=1")}

    def close(self) -> None:
        """Give back the connection."""
        self._http.close()

    def _get(self, path: str) -> list[Any]:
        return list(self._http.get(path).raise_for_status().json()["metadata"])

    @staticmethod
    def _belongs(item: dict[str, Any], mark: str) -> bool:
        return item.get("config", {}).get("user.carina.bay") == mark or mark[:8] in item["name"]


@pytest.fixture
def cloud(portal: Stack) -> Iterator[CloudLook]:
    """A look past the portal."""
    look = CloudLook(portal)
    yield look
    look.close()


def manage(stack: Stack, *arguments: str, stdin: str = "") -> str:
    """Run a management command of the portal and return what it printed."""
    command = [sys.executable, str(ROOT / "manage.py"), *arguments]
    done = subprocess.run(command, env=full_environment(stack.env), input=stdin, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def pem_folder(folder: Path, *, ca: str, certificate: str, key: str) -> Path:
    """Write the three files a docker client looks for."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (("ca.pem", ca), ("cert.pem", certificate), ("key.pem", key)):
        (folder / name).write_text(text)
    return folder
