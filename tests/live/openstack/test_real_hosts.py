"""The main job on real OpenStack instances: a bay through the portal, the zip, and the plain docker command. On libvirt/lxc and on QEMU."""

import base64
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from bench.bare_openstack import run_bare_server
from bench.client import Docker
from tests.live.openstack.real_images import CLOUD, KINDS, PATIENCE_SECONDS, Real, bay_name, busybox_tar
from tests.live.openstack.scenario import NETWORK
from tests.live.work import nodes
from tests.waiting import until

pytest_plugins = ["tests.live.openstack.real_stage"]
pytestmark = [pytest.mark.openstack_real, pytest.mark.timeout(6 * PATIENCE_SECONDS)]

IMAGE = "busybox:here"
ASK = r"printf 'GET /openstack/latest/user_data HTTP/1.0\r\nHost: 169.254.169.254\r\n\r\n' | /bin/busybox nc -w 5 169.254.169.254 80"
"""Not busybox's wget: outside its distribution it dies of a segmentation fault before it asks anything."""
HOST_COUNTS = {"real-lxc": 2, "real-vm": 1}


@dataclass(frozen=True)
class Bay:
    """A bay that is used with nothing but its zip."""

    name: str
    flavor: str
    docker: Docker
    seconds: float
    addresses: list[str]


@pytest.fixture(scope="module", params=sorted(KINDS))
def bay(request: pytest.FixtureRequest, real: Real, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bay]:
    flavor = request.param
    name, folder = bay_name(), tmp_path_factory.mktemp(flavor)
    begun = time.perf_counter()
    real.user.create(name=name, node_count=HOST_COUNTS[flavor], flavor=flavor, cloud=CLOUD)
    try:
        real.user.wait(name, patience=PATIENCE_SECONDS, every=0.3)
        docker = real.user.bundle(name, into=folder)
        docker("info")
        seconds = time.perf_counter() - begun
        addresses = [host["address"] for host in real.user.hosts(name)]
        content = busybox_tar(folder)
        for address in addresses:
            docker("-H", f"tcp://{address}:2376", "import", "-", IMAGE, stdin=content)
        yield Bay(name=name, flavor=flavor, docker=docker, seconds=seconds, addresses=addresses)
    finally:
        real.user.delete(name)
        real.user.wait_gone(name, patience=PATIENCE_SECONDS, every=0.5)
        assert not real.project.servers(), "the bay's servers go with it"


def inside(bay: Bay, *command: str, network: str = "bridge", check: bool = True) -> str:
    return bay.docker("run", "--rm", "--network", network, IMAGE, "/bin/busybox", *command, check=check)


def test_the_docker_command_uses_the_bay_with_the_zip_alone(real: Real, bay: Bay) -> None:
    expected = [f"{bay.name}-{number} Ready" for number in range(1, HOST_COUNTS[bay.flavor] + 1)]
    expected[0] += " Leader"
    assert nodes(bay.docker) == expected
    assert inside(bay, "echo", "hello from a container") == "hello from a container\n"
    landed = {server["OS-EXT-SRV-ATTR:host"] for server in real.project.servers()}
    assert landed == {"real-lxc1" if bay.flavor == "real-lxc" else "real-vm1"}


@pytest.mark.parametrize("network", ["bridge", "host"])
def test_no_container_reaches_what_the_host_was_sent(real: Real, bay: Bay, network: str) -> None:
    said = inside(bay, "sh", "-c", ASK, network=network, check=False)
    assert re.search(r"timed out|refused|unreachable|can't connect", said), said
    assert "cloud-config" not in said


def test_no_copy_of_what_the_host_was_sent_is_left_on_it(real: Real, bay: Bay) -> None:
    """Looked for with the rights of root, which an ordinary container does not have: the key is where Docker reads it, and nowhere else."""
    server = next(each for each in real.project.servers() if each["OS-EXT-SRV-ATTR:user_data"])
    sent = base64.b64decode(server["OS-EXT-SRV-ATTR:user_data"]).decode()
    assert "/etc/docker/tls/server-key.pem" in sent

    def files_with(words: str) -> list[str]:
        found = "find etc var run tmp root -type f -size -2000k | grep -v /docker/overlay2/"
        script = f"/bin/busybox --install -s /bin; cd /host; {found} | xargs grep -l -e '{words}' 2>/dev/null; true"
        return bay.docker("run", "--rm", "-v", "/:/host:ro", IMAGE, "/bin/busybox", "sh", "-c", script).split()

    # The brackets keep the search from finding its own words, which Docker notes with the container.
    keys = files_with("BEGI[N].*PRIVATE KEY")
    assert "etc/docker/tls/server-key.pem" in keys, "the search finds what is there"
    assert [path for path in keys if not path.startswith(("etc/docker/tls/", "var/lib/docker/swarm/"))] == []
    assert files_with('"write_file[s]":') == []
    mounts = bay.docker("run", "--rm", "-v", "/proc/1/mounts:/mounts:ro", IMAGE, "/bin/busybox", "cat", "/mounts")
    assert "config-2" not in mounts
    assert "iso9660" not in mounts


def test_a_bay_comes_back_after_a_reboot_with_its_walls(real: Real, bay: Bay) -> None:
    def settled(*states: str) -> bool:
        return all(server["status"] in states and not server["OS-EXT-STS:task_state"] for server in real.project.servers())

    for server in real.project.servers():
        real.lab.admin.compute.reboot_server(server["id"], "HARD")
    until(lambda: not settled("ACTIVE"), what="the reboot to begin", every=0.1)
    until(lambda: settled("ACTIVE"), what="the reboot to end", patience=PATIENCE_SECONDS)

    def answers() -> bool:
        return "Swarm: active" in bay.docker("info", check=False)

    until(answers, what="the engine after the reboot", patience=PATIENCE_SECONDS)
    said = inside(bay, "sh", "-c", ASK, network="host", check=False)
    assert "refused" in said
    assert "cloud-config" not in said


def test_the_time_from_request_to_docker_info_beside_a_bare_script(real: Real, bay: Bay, capsys: pytest.CaptureFixture[str]) -> None:
    with real.project.connected() as connection:
        bare = run_bare_server(connection=connection, kind=KINDS[bay.flavor], flavor=bay.flavor, network=NETWORK)
    with capsys.disabled():
        print(
            f"\n{bay.flavor}: bay of {HOST_COUNTS[bay.flavor]} hosts, request to docker info {bay.seconds:.1f} s; "
            f"bare script, one server {bare.answered:.1f} s (ACTIVE after {bare.active:.1f} s)"
        )
    assert bare.answered > bare.active
