"""Making one swarm of a bay's hosts, as a pipeline: no host waits for another that it does not need.

Every engine is asked at once and handled the moment it answers: the first manager starts the swarm, the others join it, workers side by
side and managers one after the other (a raft group must not change twice at once). What to do follows from what the engines say alone, so
a call that died half-way is simply made again. One thread decides and speaks to the caller; helpers only carry requests.

Which swarm is the right one, when engines disagree: the oldest whose managers can decide. A new one is started, and a host torn out of
another swarm, only after every manager was heard: a host replaced by a fresh one can thus never take the bay away from managers that are
merely slow to answer, and a manager that is still starting is waited for, however long, since it may hold all the bay has.
"""

from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from ipaddress import ip_address, ip_network
from threading import Event
from time import monotonic, sleep
from typing import Any

from apps.coes.contracts import EngineError, EngineNotReady, FormCluster, Node, NodeHealth, NodeState, QuorumLost, Role
from apps.coes.docker_api import DockerApi
from apps.coes.swarm.answers import Answer, Standing, first_answer
from apps.coes.swarm.members import POLL_SECONDS, Member, best_by_hostname, change_spec, check_quorum_without, forget, list_members

_MOST_THREADS = 64
_ASK_AGAIN_SECONDS = 0.2
_UNSETTLED_SECONDS = 1.0
"""How long a worker may be on its way into a swarm before it is told to give up and start again: a join takes a quarter of a second."""

_LISTEN = "0.0.0.0:2377"
_JOIN_SECONDS = 25.0
"""An engine answers a join after 20 seconds at the latest and then goes on in the background."""


@dataclass(kw_only=True)
class _Seat:
    """The manager that is asked for everything, and what it knows."""

    node: Node
    cluster: str
    tokens: dict[str, str] = field(default_factory=dict, repr=False)
    members: list[Member] = field(default_factory=list)


class Formation:
    """One call of `form_cluster`. Use once."""

    def __init__(self, *, order: FormCluster, api: DockerApi) -> None:
        self._order, self._api = order, api
        self._deadline = monotonic() + order.patience
        self._stop = Event()
        self._answers: dict[str, Answer] = {}
        self._last_words: dict[str, Answer] = {}
        self._unsettled_since: dict[str, float] = {}
        self._joined: set[str] = set()
        self._told = 0
        self._seat: _Seat | None = None
        self._under_way: dict[Future[Any], tuple[Node, Callable[[Any], None]]] = {}
        self._managers = [node for node in order.nodes if node.role is Role.MANAGER]
        self._trouble: EngineError | None = None

    def run(self) -> list[NodeState]:
        """Return the members once every asked node is one and works. Raises EngineNotReady, QuorumLost, EngineRefused."""
        if not self._managers:
            raise EngineNotReady("A bay needs at least one manager.")
        with ThreadPoolExecutor(max_workers=min(len(self._order.nodes), _MOST_THREADS), thread_name_prefix="swarm") as self._pool:
            try:
                for node in self._order.nodes:
                    self._ask(node)
                while len(self._joined) < len(self._order.nodes):
                    self._absorb()
                    try:
                        self._decide()
                    except QuorumLost as error:
                        self._trouble, self._seat = error, None
                        self._start_over(delay=_ASK_AGAIN_SECONDS)
                    except EngineNotReady as error:
                        self._trouble = error
                        sleep(POLL_SECONDS)
            finally:
                self._stop.set()
                for future in self._under_way:
                    future.cancel()
        return self._settle()

    # What helpers do: requests, nothing else.

    def _ask(self, node: Node, *, delay: float = 0.0) -> None:
        self._answers.pop(node.ref, None)
        self._start(node, self._heard, partial(first_answer, api=self._api, node=node, stop=self._stop, delay=delay))

    def _start(self, node: Node, then: Callable[[Any], None], work: Callable[[], Any]) -> None:
        self._under_way[self._pool.submit(work)] = (node, then)

    def _join(self, *, node: Node, seat: _Seat) -> tuple[Node, _Seat]:
        body = {
            "ListenAddr": _LISTEN,
            "AdvertiseAddr": node.address,
            "DataPathAddr": node.address,
            "RemoteAddrs": [f"{seat.node.address}:2377"],
            "JoinToken": seat.tokens["Manager" if node.role is Role.MANAGER else "Worker"],
        }
        self._api.post(node=node, path="/swarm/join", body=body, timeout=_JOIN_SECONDS)
        return node, seat

    def _leave(self, *, node: Node) -> Node:
        self._api.post(node=node, path="/swarm/leave", params={"force": "true"}, timeout=_JOIN_SECONDS)
        return node

    # What the deciding thread does with their results.

    def _absorb(self) -> None:
        """Wait for the next result, and let its handler see it. An engine that stumbles is asked anew."""
        left = self._deadline - monotonic()
        if left <= 0:
            raise self._out_of_time()
        done, _ = wait(self._under_way, timeout=left, return_when=FIRST_COMPLETED)
        for future in done:
            node, then = self._under_way.pop(future)
            try:
                result = future.result()
            except (EngineNotReady, QuorumLost) as error:
                self._trouble = error
                self._ask(node, delay=_ASK_AGAIN_SECONDS)
            else:
                then(result)

    def _heard(self, answer: Answer | None) -> None:
        if answer is not None:
            self._answers[answer.node.ref] = self._last_words[answer.node.ref] = answer

    def _join_ended(self, joined: tuple[Node, _Seat]) -> None:
        node, seat = joined
        if seat is self._seat:
            self._has_joined(node)
        else:
            self._ask(node)

    def _has_joined(self, node: Node) -> None:
        if node.ref not in self._joined:
            self._joined.add(node.ref)
            if len(self._joined) > self._told:  # after a start from the top, silence until there is news
                self._told = len(self._joined)
                self._order.on_progress(len(self._joined), len(self._order.nodes), f"{node.hostname} is in the swarm")

    def _decide(self) -> None:
        self._choose_seat()
        if self._seat is None:
            return
        busy = {node.ref for node, _ in self._under_way.values()}
        for answer in list(self._answers.values()):
            if answer.node.ref not in self._joined and answer.node.ref not in busy:
                self._bring_in(answer, self._seat)

    def _choose_seat(self) -> None:
        """Find the swarm to form, or start it; prefer the oldest one that can decide."""
        held = [answer for answer in self._manager_answers() if answer.standing is Standing.MANAGER]
        if held:
            oldest = min(held, key=lambda answer: (answer.created, answer.cluster))
            if self._seat is None or self._seat.cluster != oldest.cluster:
                self._take_seat(oldest)
            return
        answers = self._manager_answers()
        if self._seat is not None or len(answers) < len(self._managers):
            return
        first, undecided = answers[0], [answer for answer in answers if answer.standing in {Standing.UNSETTLED, Standing.LEADERLESS}]
        if undecided:
            for answer in undecided:
                self._ask(answer.node, delay=_ASK_AGAIN_SECONDS)
        elif first.standing is Standing.ALONE:
            self._start_swarm(first.node)
        else:  # a worker of a swarm that none of the bay's managers is in
            self._order.alive()
            self._start(first.node, self._ask, partial(self._leave, node=first.node))
            self._answers.pop(first.node.ref)

    def _manager_answers(self) -> list[Answer]:
        return [self._answers[node.ref] for node in self._managers if node.ref in self._answers]

    def _take_seat(self, answer: Answer) -> None:
        seat = _Seat(node=answer.node, cluster=answer.cluster)
        try:
            self._look(seat)
        except (EngineNotReady, QuorumLost) as error:
            self._trouble = error
            self._ask(answer.node, delay=_ASK_AGAIN_SECONDS)
            return
        if self._seat is not None:
            self._start_over()
        self._seat = seat

    def _start_over(self, *, delay: float = 0.0) -> None:
        """The swarm joined so far is not the right one, or has lost its majority: hear everybody once more."""
        self._joined.clear()
        busy = {node.ref for node, _ in self._under_way.values()}
        for node in self._order.nodes:
            if node.ref not in busy:
                self._ask(node, delay=delay)

    def _look(self, seat: _Seat) -> None:
        seat.members = list_members(api=self._api, manager=seat.node)

    def _start_swarm(self, node: Node) -> None:
        self._order.alive()
        try:
            node_id = self._api.post(node=node, path="/swarm/init", body=_new_swarm(node.address), timeout=_JOIN_SECONDS)
        except EngineNotReady as error:  # also what an engine answers that is in a swarm by now
            self._trouble = error
            self._ask(node, delay=_ASK_AGAIN_SECONDS)
            return
        # What a manager says of the swarm is read once more only where there is somebody to join it.
        if len(self._order.nodes) > 1:
            swarm = self._api.get(node=node, path="/swarm")
            self._seat = _Seat(node=node, cluster=swarm["ID"], tokens=swarm["JoinTokens"])
            self._answers[node.ref] = Answer(
                node=node, standing=Standing.MANAGER, node_id=node_id, cluster=swarm["ID"], created=swarm["CreatedAt"]
            )
        else:
            self._seat = _Seat(node=node, cluster=node_id)
        self._has_joined(node)

    def _bring_in(self, answer: Answer, seat: _Seat) -> None:
        """Make the node that gave `answer` a member of the seat's swarm, if it is none."""
        node = answer.node
        if answer.standing is Standing.ALONE:
            if node.role is Role.MANAGER and any(
                other.role is Role.MANAGER for other, _ in self._under_way.values() if other.ref in self._answers
            ):
                return
            self._forget_former_selves(node, seat)
            if not seat.tokens:
                seat.tokens = self._api.get(node=seat.node, path="/swarm")["JoinTokens"]
            self._order.alive()
            self._start(node, self._join_ended, partial(self._join, node=node, seat=seat))
            return
        if answer.cluster == seat.cluster or self._is_member(answer, seat):
            self._has_joined(node)
            return
        if len(self._manager_answers()) < len(self._managers):
            return
        if answer.standing is Standing.LEADERLESS or (answer.standing is Standing.UNSETTLED and not self._given_up_on(answer)):
            self._ask(node, delay=_ASK_AGAIN_SECONDS)
            return
        self._order.alive()
        self._start(node, self._ask, partial(self._leave, node=node))

    def _given_up_on(self, answer: Answer) -> bool:
        """Tell whether a worker is stuck on its way into a swarm. A manager never is: it may be starting, with all the bay has."""
        since = self._unsettled_since.setdefault(answer.node.ref, monotonic())
        return answer.node.role is Role.WORKER and not answer.manages and monotonic() - since > _UNSETTLED_SECONDS

    def _is_member(self, answer: Answer, seat: _Seat) -> bool:
        if not answer.node_id:
            return False
        if not any(member.id == answer.node_id for member in seat.members):
            self._look(seat)
        return any(member.id == answer.node_id for member in seat.members)

    def _forget_former_selves(self, node: Node, seat: _Seat) -> None:
        """Remove entries of that host name: their engine is gone, since the one that answers under it is in no swarm."""
        for member in [member for member in seat.members if member.hostname == node.hostname]:
            forget(api=self._api, manager=seat.node, node_id=member.id, deadline=self._deadline, alive=self._order.alive)
            seat.members.remove(member)

    def _settle(self) -> list[NodeState]:
        """Wait until the managers call every asked node ready and in its role; forget members that are gone."""
        if self._seat is None:
            raise self._out_of_time()
        wanted = {node.hostname: node for node in self._order.nodes}
        while True:
            try:
                members = list_members(api=self._api, manager=self._seat.node)
                best = best_by_hostname(members)
                if all(name in best and best[name].working and best[name].role is node.role for name, node in wanted.items()):
                    gone = [
                        member
                        for member in members
                        if (member is not best[member.hostname] and not member.working)
                        or (member.hostname not in wanted and member.health is NodeHealth.LOST)
                    ]
                    for member in gone:
                        forget(api=self._api, manager=self._seat.node, node_id=member.id, deadline=self._deadline, alive=self._order.alive)
                    self._order.on_progress(len(wanted), len(wanted), "All hosts are ready")
                    return [member.state() for member in members if member not in gone]
                self._correct_role(members, best, wanted, self._seat.node)
            except (EngineNotReady, QuorumLost) as error:
                self._trouble = error
            if monotonic() > self._deadline:
                raise self._out_of_time()
            sleep(POLL_SECONDS)

    def _correct_role(self, members: list[Member], best: dict[str, Member], wanted: dict[str, Node], manager: Node) -> None:
        """Promote or demote one member whose role is not the asked one: promotions first, and one at a time."""
        wrong = [
            (best[name], node.role)
            for name, node in wanted.items()
            if name in best and best[name].spec.get("Role") != node.role and best[name].health is NodeHealth.READY
        ]
        if not wrong or any(member.spec.get("Role") != member.role for member in members):
            return
        member, role = min(wrong, key=lambda pair: pair[1] is Role.WORKER)
        if role is Role.WORKER:
            check_quorum_without(members=members, leaving=member)
        self._order.alive()
        change_spec(api=self._api, manager=manager, member=member, change={"Role": role.value})

    def _out_of_time(self) -> EngineError:
        missing = [node.hostname for node in self._order.nodes if node.ref not in self._joined and node.ref not in self._last_words]
        leaderless = [answer.node.hostname for answer in self._last_words.values() if answer.standing is Standing.LEADERLESS]
        if leaderless:
            return QuorumLost(f"Too few managers of {self._order.bay} answer: {', '.join(leaderless)} cannot decide alone.")
        if isinstance(self._trouble, QuorumLost):
            return self._trouble
        because = f" ({self._trouble})" if self._trouble else ""
        if missing:
            return EngineNotReady(f"Still waiting for the engine of {', '.join(missing)}{because}.")
        return EngineNotReady(f"The hosts of {self._order.bay} are not all ready yet{because}.")


def _new_swarm(address: str) -> dict[str, Any]:
    """Return the request for a new swarm whose overlay networks cannot overlap the bay's own network."""
    pool = "10.0.0.0/9" if ip_address(address) in ip_network("10.128.0.0/9") else "10.128.0.0/9"
    return {"ListenAddr": _LISTEN, "AdvertiseAddr": address, "DataPathAddr": address, "DefaultAddrPool": [pool], "SubnetSize": 24}
