"""A dozen lives of bays under lost calls and killed workers leave nothing behind in OpenStack; two hundred do in bench/leaks.py."""

import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from apps.hosts.contracts import CloudUnreachable
from apps.hosts.providers.openstack.api import Api
from bench.leaks import Score, leaks
from bench.openstack import RunProject, Watch
from tests.live.openstack.faults import Kind
from tests.live.openstack.lab import Lab
from tests.live.openstack.portal import default_var
from tests.live.openstack.proxy import FaultProxy

pytestmark = [pytest.mark.live, pytest.mark.openstack, pytest.mark.openstack_long, pytest.mark.timeout(900)]
LIVES, AT_ONCE, RATE, SECONDS_BETWEEN_KILLS = 12, 6, 0.08, 12.0
PORT = 8797


@pytest.fixture(scope="module")
def score(lab: Lab) -> Score:
    seed = secrets.randbelow(1_000_000)
    found = leaks(
        place=lab.place, cycles=LIVES, at_once=AT_ONCE, seed=seed, rate=RATE, kill_every=SECONDS_BETWEEN_KILLS,
        own_networks=False, var=default_var("test-no-leaks"), port=PORT,
    )  # fmt: skip
    print(f"seed {seed}\n" + "\n".join(found.lines()))
    return found


@pytest.fixture
def project(lab: Lab) -> Iterator[RunProject]:
    with RunProject(place=lab.place) as project:
        yield project


def test_nothing_of_any_kind_is_left(score: Score) -> None:
    assert {kind: things for kind, things in score.left.items() if things} == {}


def test_no_bay_is_stuck_and_no_operation_unfinished(score: Score) -> None:
    assert (score.stuck, score.unfinished, score.strays) == ([], [], [])
    assert score.kinds.total() == LIVES


def test_no_host_was_ever_seen_running_twice(score: Score) -> None:
    assert score.twice == {}
    assert score.most > 0, "the watch must have seen servers for this to mean anything"


def test_calls_were_broken_and_the_worker_was_killed_meanwhile(score: Score) -> None:
    assert score.kills > 0
    assert sum(score.faults.values()) >= LIVES
    assert {Kind.DROP_AFTER, Kind.TIMEOUT_AFTER} & score.faults.keys(), "calls must have been carried out without an answer"


def test_versions_that_nova_did_not_tell_are_asked_for_again_instead_of_taken_for_none(proxy: FaultProxy) -> None:
    proxy.fault(kind=Kind.UNAVAILABLE, service="compute", method="GET", path=r"^/(v2\.1/?)?$", times=0)
    with proxy.connect() as connection:
        api = Api(connection=connection)
        with pytest.raises(CloudUnreachable):
            api.servers(tag="nobody")
        proxy.clear()
        assert api.servers(tag="nobody") == []


def test_the_census_sees_what_is_left_and_not_what_others_have(project: RunProject, lab: Lab) -> None:
    admin = lab.admin
    network = admin.network.create_network(name="left", project_id=project.id)
    admin.network.create_port(network_id=network.id, name="left", project_id=project.id)
    admin.network.create_security_group(name="left", project_id=project.id)
    strangers = admin.network.create_security_group(name="left")
    try:
        left = {kind: len(things) for kind, things in project.census().items() if things}
        assert left == {"ports": 1, "networks": 1, "security-groups": 1}
        project.clear()
        assert not any(project.census().values())
        assert admin.network.get_security_group(strangers.id).name == "left"
    finally:
        admin.network.delete_security_group(strangers)


def test_the_watch_knows_a_host_that_runs_twice(project: RunProject, lab: Lab) -> None:
    def server(name: str, ref: str, status: str) -> dict[str, Any]:
        return {"id": name, "status": status, "metadata": {"carina_bay": "b", "carina_ref": ref}}

    with Watch(project=project, place=lab.place) as watch:
        watch.note([server("1", "m1", "ACTIVE"), server("2", "m1", "BUILD"), server("3", "w1", "ACTIVE")])
        assert watch.twice == {}
        watch.note([server("1", "m1", "ACTIVE"), server("2", "m1", "ACTIVE"), server("3", "w1", "ACTIVE")])
        assert watch.twice == {("b", "m1"): ["1", "2"]}
