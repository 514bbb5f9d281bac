"""A bay's authority is replaced under real containers and real streams: the old zip is refused, and nothing that runs notices."""

import subprocess
import time
from pathlib import Path

import pytest

from bench.client import Docker, PortalClient
from carina_portal.embedded.stack import Stack
from tests.live.work import IMAGE, LoadImage, bay, eventually, nodes

pytestmark = [pytest.mark.live, pytest.mark.incus]

TICKING = "i=0; while :; do echo tick $i; i=$((i+1)); busybox sleep 0.2; done"
STANDING = "{{.Id}} {{.State.StartedAt}} {{.RestartCount}} {{.State.Pid}}"


def on(docker: Docker, address: str, *command: str, stdin: bytes | None = None) -> str:
    return docker("-H", f"tcp://{address}:2376", *command, stdin=stdin)


def refused(docker: Docker, address: str) -> bool:
    """Whether the engine turns the client down by its certificate, and not for another reason."""
    done = subprocess.run(
        ["docker", "-H", f"tcp://{address}:2376", "ps"], env=docker.env, capture_output=True, text=True, check=False, timeout=30
    )
    return done.returncode != 0 and any(word in done.stderr.lower() for word in ("certificate", "tls:"))


def test_old_credentials_are_refused_and_containers_run_on(
    client: PortalClient, portal: Stack, tmp_path: Path, load_image: LoadImage, capsys: pytest.CaptureFixture[str]
) -> None:
    with bay(client, hosts=2) as name:
        old = client.bundle(name, into=tmp_path / "old")
        addresses = [host["address"] for host in client.hosts(name)]
        load_image(old, addresses)
        for address in addresses:
            on(old, address, "run", "--detach", "--name", "ticking", IMAGE, "bash", "-c", TICKING)
        old("service", "create", "--detach", "--name", "served", "--mode", "global", "--no-resolve-image", IMAGE, "sleep", "3600")
        eventually(lambda: old("service", "ls", "--format", "{{.Replicas}}").strip() == "2/2")
        tasks = [on(old, address, "ps", "--quiet", "--no-trunc", "--filter", "name=served") for address in addresses]
        before = [on(old, address, "inspect", "--format", STANDING, "ticking") for address in addresses]
        known, token = members(old), old("swarm", "join-token", "--quiet", "worker")
        with follow(old) as logs, old_shell(old) as shell:
            started = time.monotonic()
            assert client.http.post(f"bays/{name}/rotate-ca", json={}).status_code == 202
            assert client.get(name)["operation"]["kind"] == "bay.rotate_ca"
            done = client.wait(name, patience=120)
            seconds = time.monotonic() - started
            logs.wait(timeout=20)
            shell.wait(timeout=20)
        assert done["health"] == "healthy"
        with capsys.disabled():
            print(f"\nauthority of a bay of {len(addresses)} hosts replaced in {seconds:.2f} s: {phases(done)}")

        assert all(refused(old, address) for address in addresses), "the old zip opens no host"
        new = client.bundle(name, into=tmp_path / "new")
        mixed = Docker(folder=new.folder)
        (tmp_path / "mixed").mkdir()
        for file, folder in (("ca.pem", new.folder), ("cert.pem", old.folder), ("key.pem", old.folder)):
            (tmp_path / "mixed" / file).write_bytes((folder / file).read_bytes())
        mixed.env["DOCKER_CERT_PATH"] = str(tmp_path / "mixed")
        assert all(refused(mixed, address) for address in addresses), "nor does its certificate beside the new authority"

        assert [on(new, address, "inspect", "--format", STANDING, "ticking") for address in addresses] == before
        assert [on(new, address, "ps", "--quiet", "--no-trunc", "--filter", "name=served") for address in addresses] == tasks
        assert members(new) == known
        assert nodes(new) == [f"{name}-1 Ready Leader", f"{name}-2 Ready"]
        assert new("swarm", "join-token", "--quiet", "worker") != token
        assert all(on(new, address, "images", "--quiet", "carina-certificates") == "" for address in addresses), "nothing is left behind"
        streams_work(new)
        client.resize(name, 3)
        assert client.wait(name)["health"] == "healthy", "a host that comes later joins with the new secrets"
        assert refused(old, client.hosts(name)[2]["address"])


def members(docker: Docker) -> list[str]:
    return sorted(docker("node", "ls", "--format", "{{.ID}}").split())


def phases(done: dict[str, object]) -> str:
    operation = done["operation"]
    assert isinstance(operation, dict)
    return ", ".join(f"{phase['name']} {phase['seconds']} s" for phase in operation["phases"])


def follow(docker: Docker) -> "subprocess.Popen[str]":
    """Somebody who follows a log when the authority is replaced; their connection ends with their certificate."""
    process = subprocess.Popen(["docker", "logs", "--follow", "ticking"], env=docker.env, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("tick")
    return process


def old_shell(docker: Docker) -> "subprocess.Popen[str]":
    """Somebody in a shell of a container, as `docker exec -i` gives one."""
    command = ["docker", "exec", "--interactive", "ticking", "bash"]
    process = subprocess.Popen(command, env=docker.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("echo here\n")
    process.stdin.flush()
    assert process.stdout.readline() == "here\n"
    return process


def streams_work(docker: Docker) -> None:
    """What goes over upgraded connections: input that ends, terminals, logs, archives, all there and in order."""
    assert docker("exec", "--interactive", "ticking", "cat", stdin=b"to the end\n") == "to the end\n"
    block = bytes(range(256)) * 4096
    assert docker("run", "--rm", "--interactive", IMAGE, "busybox", "wc", "-c", stdin=block).strip() == str(len(block))
    terminal = ["script", "--quiet", "--return", "--command", "docker exec -it ticking busybox tty", "/dev/null"]
    said = subprocess.run(terminal, env=docker.env, capture_output=True, text=True, check=True, timeout=30).stdout
    assert "/dev/pts/" in said or "/dev/console" in said
    with follow(docker) as process:
        process.kill()
    built = docker("build", "--quiet", "--tag", "built:1", "-", stdin=f'FROM {IMAGE}\nRUN ["busybox", "true"]\n'.encode())
    assert "sha256:" in built
