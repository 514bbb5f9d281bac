"""What every COE promises (`apps/coes/base.py`), shown on each: the double in memory and a real Swarm on real hosts."""

import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.client import HTTPSConnection

import pytest

from apps.coes.base import Coe
from apps.coes.contracts import EngineError, EngineNotReady, EngineRefused, NodeHealth, QuorumLost, Role
from apps.coes.swarm import Swarm
from tests.contracts.clouds import Cloud, IncusUnderTest, MemoryCloudUnderTest
from tests.contracts.swarms import Authority, SwarmBay, identity
from tests.doubles import memory_coe
from tests.doubles.memory_coe import MemoryCoe

MANAGER, WORKER = Role.MANAGER, Role.WORKER
MakeBay = Callable[[], SwarmBay]


@pytest.fixture(params=["memory", pytest.param("swarm", marks=pytest.mark.incus)])
def bay(request: pytest.FixtureRequest) -> Iterator[SwarmBay]:
    real = request.param == "swarm"
    cloud: Cloud = IncusUnderTest() if real else MemoryCloudUnderTest()
    coe: Coe = Swarm() if real else MemoryCoe()
    memory_coe.engines.clear()
    bay = SwarmBay(cloud=cloud, provider=cloud.provider(), coe=coe, image=cloud.image)
    yield bay
    bay.close()
    cloud.close()


def until(condition: Callable[[], bool], *, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not (done := condition()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return done


def test_one_host_becomes_a_swarm_of_one(bay: SwarmBay) -> None:
    node = bay.node(1, MANAGER)
    bay.boot([node])
    [state] = bay.form([node])
    assert (state.hostname, state.address, state.role, state.health, state.leader) == (
        node.hostname,
        node.address,
        MANAGER,
        NodeHealth.READY,
        True,
    )
    assert bay.progress[-1] == (1, 1)


def test_a_swarm_grows_shrinks_and_forming_it_again_changes_nothing(bay: SwarmBay) -> None:
    nodes = [bay.node(1, MANAGER), bay.node(2, WORKER), bay.node(3, WORKER)]
    bay.boot(nodes[:2])
    first = {state.hostname: state.node_id for state in bay.form(nodes[:2])}
    bay.boot(nodes[2:])
    grown = {state.hostname: state for state in bay.form(nodes)}
    assert {name: grown[name].node_id for name in first} == first, "members that were there stay who they are"
    assert [grown[node.hostname].role for node in nodes] == [MANAGER, WORKER, WORKER]
    assert {state.health for state in grown.values()} == {NodeHealth.READY}
    threads = threading.active_count()
    assert {state.node_id for state in bay.form(nodes)} == {state.node_id for state in grown.values()}
    assert threading.active_count() == threads, "no thread outlives the call"
    assert set(bay.observe(nodes)) == {"web-1", "web-2", "web-3"}
    bay.retire(nodes[2], nodes)
    assert set(bay.observe(nodes)) == {"web-1", "web-2"}
    bay.retire(nodes[2], nodes)
    bay.remove(nodes[2])
    assert {state.hostname for state in bay.form(nodes[:2])} == {"web-1", "web-2"}


def test_a_host_that_lost_power_is_seen_as_lost_and_can_be_retired(bay: SwarmBay) -> None:
    nodes = [bay.node(1, MANAGER), bay.node(2, WORKER)]
    bay.boot(nodes)
    bay.form(nodes)
    bay.power_off(nodes[1])
    assert until(lambda: bay.observe(nodes)["web-2"].health is NodeHealth.LOST, seconds=60)
    with pytest.raises(EngineNotReady, match="web-2"):
        bay.form(nodes, patience=1.0)
    bay.retire(nodes[1], nodes)
    assert set(bay.observe(nodes)) == {"web-1"}


def test_a_replaced_worker_takes_the_place_of_its_former_self(bay: SwarmBay) -> None:
    nodes = [bay.node(1, MANAGER), bay.node(2, WORKER)]
    bay.boot(nodes)
    before = {state.hostname: state.node_id for state in bay.form(nodes)}
    bay.replace(nodes[1])
    after = {state.hostname: state.node_id for state in bay.form(nodes)}
    assert after["web-1"] == before["web-1"]
    assert after["web-2"] != before["web-2"]
    assert len(bay.coe.observe(managers=nodes[:1], identity=bay.authority.client())) == 2, "its former self is forgotten"


def test_workers_follow_when_the_only_manager_is_replaced(bay: SwarmBay) -> None:
    nodes = [bay.node(1, MANAGER), bay.node(2, WORKER)]
    bay.boot(nodes)
    bay.form(nodes)
    bay.replace(nodes[0])
    assert {state.hostname: state.health for state in bay.form(nodes)} == {"web-1": NodeHealth.READY, "web-2": NodeHealth.READY}


def test_three_managers_survive_the_loss_of_the_first_and_change_roles(bay: SwarmBay) -> None:
    nodes = [bay.node(1, MANAGER), bay.node(2, MANAGER), bay.node(3, MANAGER)]
    bay.boot(nodes)
    before = {state.hostname: state.node_id for state in bay.form(nodes)}
    bay.replace(nodes[0])
    after = {state.hostname: state for state in bay.form(nodes)}
    assert {name: after[name].node_id for name in ("web-2", "web-3")} == {name: before[name] for name in ("web-2", "web-3")}, (
        "the swarm is the same"
    )
    assert [state.role for state in after.values()] == [MANAGER] * 3
    fewer = [nodes[0], bay.node(2, WORKER), bay.node(3, WORKER)]
    roles = {state.hostname: state.role for state in bay.form(fewer)}
    assert roles == {"web-1": MANAGER, "web-2": WORKER, "web-3": WORKER}
    with pytest.raises(QuorumLost, match="web-1"):
        bay.retire(fewer[0], fewer)


def test_only_certificates_of_the_bay_that_are_for_clients_and_still_valid_open_an_engine(bay: SwarmBay) -> None:
    node = bay.node(1, MANAGER)
    bay.boot([node])
    bay.form([node])
    stranger = Authority()
    issued = bay.authority.signer.issue_server(hostname="web-9", dns_names=[], addresses=[], now=stranger.pem.expires_at.replace(year=2020))
    for refused in (
        stranger.client(trusts=bay.authority),
        bay.authority.client(expired=True),
        bay.authority.client(trusts=stranger),
        identity(ca=bay.authority, issued=issued),
    ):
        with pytest.raises(EngineRefused):
            bay.coe.observe(managers=[node], identity=refused)
    with pytest.raises(EngineRefused):
        bay.form([node], identity=stranger.client(trusts=bay.authority))
    assert set(bay.observe([node])) == {"web-1"}


def test_a_new_authority_lets_its_clients_in_and_the_former_ones_out_while_the_cluster_stays_as_it_is(bay: SwarmBay) -> None:
    nodes = [bay.node(1, MANAGER), bay.node(2, WORKER)]
    bay.boot(nodes)
    before = {state.hostname: state.node_id for state in bay.form(nodes)}
    former, new = bay.authority, Authority()
    old_client, both = former.client(), former.pem.certificate_pem + new.pem.certificate_pem
    for node in nodes:
        assert bay.coe.accepts(node=node, identity=old_client)
        assert not bay.coe.accepts(node=node, identity=new.client())
        bay.renew(node, issuer=new, trusts=both, identity=old_client)
    for node in nodes:
        bridging = replace(old_client, ca_pem=both)
        assert bay.coe.accepts(node=node, identity=bridging), "the former authority's clients are let in until all hosts are renewed"
        assert bay.coe.accepts(node=node, identity=new.client())
        bay.renew(node, issuer=new, trusts=new.pem.certificate_pem, identity=new.client(), cut=True)
    bay.authority = new
    for node in nodes:
        assert bay.coe.accepts(node=node, identity=new.client())
        assert not bay.coe.accepts(node=node, identity=replace(old_client, ca_pem=new.pem.certificate_pem))
        assert not bay.coe.accepts(node=node, identity=old_client)
        with pytest.raises(EngineRefused):
            bay.renew(node, issuer=former, trusts=both, identity=replace(old_client, ca_pem=both))
    bay.coe.replace_secrets(managers=nodes[:1], identity=new.client())
    with pytest.raises(EngineRefused):
        bay.observe_as(nodes, replace(old_client, ca_pem=both))
    assert {state.hostname: state.node_id for state in bay.form(nodes)} == before, "nobody left the cluster"
    bay.boot([joining := bay.node(3, WORKER)])
    assert set(bay.observe(nodes)) == {"web-1", "web-2"}
    assert {state.hostname for state in bay.form([*nodes, joining])} == {"web-1", "web-2", "web-3"}, "join secrets are the new ones"


def test_a_caller_that_lost_its_lease_changes_nothing(bay: SwarmBay) -> None:
    class LeaseLost(Exception):
        pass

    def gone() -> None:
        raise LeaseLost

    node = bay.node(1, MANAGER)
    bay.boot([node])
    order = bay.order([node])
    threads = threading.active_count()
    with pytest.raises(LeaseLost):
        bay.coe.form_cluster(type(order)(**{**vars(order), "alive": gone}))
    assert threading.active_count() == threads
    with pytest.raises(EngineError):
        bay.observe([node])


def test_hosts_that_do_not_answer_are_named(bay: SwarmBay) -> None:
    with pytest.raises(EngineNotReady, match="web-1"):
        bay.form([bay.node(1, MANAGER)], patience=0.3)
    with pytest.raises(EngineNotReady):
        bay.observe([bay.node(1, MANAGER)])


@pytest.mark.incus
def test_a_real_engine_answers_nothing_without_a_certificate_and_keeps_tokens_to_itself(caplog: pytest.LogCaptureFixture) -> None:
    cloud = IncusUnderTest()
    bay = SwarmBay(cloud=cloud, provider=cloud.provider(), coe=Swarm(), image=cloud.image)
    try:
        nodes = [bay.node(1, MANAGER), bay.node(2, WORKER)]
        bay.boot(nodes)
        with caplog.at_level("DEBUG"):
            bay.form(nodes)
        assert "SWMTKN" not in caplog.text
        naked = ssl.create_default_context(cadata=bay.authority.pem.certificate_pem.decode())
        connection = HTTPSConnection(nodes[0].address, 2376, context=naked, timeout=5)
        with pytest.raises((ssl.SSLError, ConnectionError)):
            connection.request("GET", "/info")
            connection.getresponse()
        connection.close()
    finally:
        bay.close()
        cloud.close()
