"""kill -9 at any moment: the bay becomes as asked by itself once a worker is back, with exactly the asked hosts and networks."""

import random
import secrets
import time

import pytest

from bench.client import PortalClient
from carina_portal.embedded.stack import Stack
from tests.live.conftest import CloudLook, client, cloud

pytestmark = [pytest.mark.live, pytest.mark.incus, pytest.mark.timeout(900)]
__all__ = ["client", "cloud"]
KILLS, SHORTEST_CREATE = 20, 1.6


def exactly_as_asked(client: PortalClient, cloud: CloudLook, name: str, *, hosts: int) -> None:
    bay = client.wait(name)
    assert bay["node_count"] == hosts
    assert [host["state"] for host in client.hosts(name)] == ["ready"] * hosts
    kinds = sorted(item.split(" ")[0] for item in cloud.everything_of(bay["id"]) if not item.startswith(("firewall", "volume")))
    assert kinds == sorted(["instances"] * hosts + ["networks", "network-acls"])


def delete_all(client: PortalClient, cloud: CloudLook, names: list[str]) -> None:
    ids = [client.get(name)["id"] for name in names]
    for name in names:
        client.delete(name)
    for name in names:
        client.wait_gone(name)
    for bay_id in ids:
        assert cloud.everything_of(bay_id) == []


def test_twenty_creates_survive_a_worker_killed_at_a_random_moment_of_each(client: PortalClient, cloud: CloudLook, portal: Stack) -> None:
    seed = secrets.randbelow(1_000_000)
    dice = random.Random(seed)
    hit = 0
    for _ in range(KILLS):
        name = f"kill-{secrets.token_hex(3)}"
        client.create(name=name, node_count=1)
        time.sleep(dice.uniform(0, SHORTEST_CREATE))
        portal.kill_worker()
        hit += client.get(name)["status"] == "creating"
        portal.start_worker()
        exactly_as_asked(client, cloud, name, hosts=1)
        delete_all(client, cloud, [name])
    print(f"seed {seed}: {hit} of {KILLS} kills hit a create under way")
    assert hit >= KILLS * 3 // 4, "the kills must fall into the creates for this test to mean anything"


def test_a_create_survives_an_emptied_redis(client: PortalClient, cloud: CloudLook, portal: Stack) -> None:
    names = []
    for pause in (0.0, 0.4, 1.2):
        names.append(f"flush-{secrets.token_hex(3)}")
        client.create(name=names[-1], node_count=1)
        time.sleep(pause)
        portal.flush_redis()
    portal.kill_worker()
    names.append(f"flush-{secrets.token_hex(3)}")
    client.create(name=names[-1], node_count=2)
    portal.flush_redis()
    portal.start_worker()
    for name, hosts in zip(names, (1, 1, 1, 2), strict=True):
        exactly_as_asked(client, cloud, name, hosts=hosts)
    delete_all(client, cloud, names)


def test_a_create_survives_the_web_killed_right_after_the_request(client: PortalClient, cloud: CloudLook, portal: Stack) -> None:
    name = f"web-{secrets.token_hex(3)}"
    client.create(name=name, node_count=1)
    portal.kill_web()
    portal.start_web()
    exactly_as_asked(client, cloud, name, hosts=1)
    delete_all(client, cloud, [name])


def test_a_delete_survives_a_killed_worker_and_one_asked_during_a_create_wins(
    client: PortalClient, cloud: CloudLook, portal: Stack
) -> None:
    names = [f"gone-{secrets.token_hex(3)}" for _ in range(2)]
    for name in names:
        client.create(name=name, node_count=2)
    ids = [client.get(name)["id"] for name in names]
    time.sleep(0.8)
    for name in names:
        client.delete(name)
    time.sleep(0.3)
    portal.kill_worker()
    portal.start_worker()
    for name, bay_id in zip(names, ids, strict=True):
        client.wait_gone(name)
        assert cloud.everything_of(bay_id) == []
