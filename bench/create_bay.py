"""How much slower is a bay of the portal than the same made by hand?

usage: python -m bench.create_bay [--runs 5] [--hosts 1,3] [--pool-driver dir]

One run interleaves both, so that the machine's mood is the same for both; medians and their ratio are printed. The portal's time is from
the REST request to a successful `docker info` with the zip's files; the bare time is the leanest sequence straight to Incus and Docker
(bench/bare.py) to the same `docker info`. Deleting: from the request until the bay is gone from cloud and API.
"""

import argparse
import secrets
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.bare import docker_info, run_bare, timed
from bench.client import PortalClient
from carina_portal.embedded.layout import ROOT
from carina_portal.embedded.portal import full_environment
from carina_portal.embedded.stack import Stack
from carina_portal.embedded.terminal import Terminal


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="interleaved runs for each number of hosts, after one that is not counted")
    parser.add_argument("--hosts", default="1,3", help="numbers of hosts, separated by commas")
    parser.add_argument("--pool-driver", default="btrfs", choices=["btrfs", "dir"])
    parser.add_argument("--port", type=int, default=8790)
    options = parser.parse_args()
    var = ROOT / "var" / f"bench-{options.pool_driver}"
    with Stack(var=var, port=options.port, pool_driver=options.pool_driver, terminal=Terminal()) as stack:
        if stack.incus is None:
            sys.exit(f"No local hosts here: {stack.no_hosts}")
        with PortalClient(base_url=stack.base_url, token=token_of(stack), tenant="demo") as client:
            for hosts in map(int, options.hosts.split(",")):
                compare(stack, client, hosts=hosts, runs=options.runs, driver=options.pool_driver)


def compare(stack: Stack, client: PortalClient, *, hosts: int, runs: int, driver: str) -> None:
    """Print medians and ratios for one number of hosts."""
    assert stack.incus is not None  # noqa: S101 - main has looked
    portal: tuple[list[float], list[float]] = ([], [])
    bare: tuple[list[float], list[float]] = ([], [])
    for _ in range(runs + 1):
        run_portal(client, hosts=hosts, created=portal[0], deleted=portal[1])
        run_bare(
            socket=str(stack.incus.socket_path),
            pool=stack.incus.pool,
            image="carina-node-swarm",
            hosts=hosts,
            created=bare[0],
            deleted=bare[1],
        )
        once = [times[-1] for times in (*portal, *bare)]
        print("  {} hosts: portal {:.2f} s (delete {:.2f} s), bare {:.2f} s (delete {:.2f} s)".format(hosts, *once), flush=True)
    for word, ours, theirs in (("create", portal[0], bare[0]), ("delete", portal[1], bare[1])):
        mine, floor = statistics.median(ours[1:]), statistics.median(theirs[1:])
        ratios = statistics.median(a / b for a, b in zip(ours[1:], theirs[1:], strict=True))
        figures = f"portal {mine:.2f} s, bare {floor:.2f} s, ratio of medians {mine / floor:.2f}, median of ratios {ratios:.2f}"
        print(f"{driver} {word} {hosts} hosts: {figures} ({runs} runs)", flush=True)


def run_portal(client: PortalClient, *, hosts: int, created: list[float], deleted: list[float]) -> None:
    """Create, use and delete one bay through REST, noting both times."""
    name = f"bench-{secrets.token_hex(3)}"
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        with timed(created):
            client.create(name=name, node_count=hosts)
            bay = client.wait(name, every=0.02)
            docker = client.bundle(name, into=Path(folder))
            docker_info(folder=docker.folder, endpoint=bay["endpoint"])
        with timed(deleted):
            client.delete(name)
            client.wait_gone(name, every=0.02)


def token_of(stack: Stack) -> str:
    """Return a fresh token of the demo user."""
    command = [sys.executable, str(ROOT / "manage.py"), "create_token", "--email", "demo@example.com", "--tenant", "demo", "--expires", "1"]
    return subprocess.run(command, env=full_environment(stack.env), check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    main()
