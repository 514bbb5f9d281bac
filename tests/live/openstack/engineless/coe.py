"""Swarm without engines: hosts on fake hypervisors boot nothing, so the cluster phase believes the cloud. All else is the real Swarm.

What this lane shows is everything between the portal and OpenStack; that engines form clusters is shown on real hosts. Members are kept
in a file, so that the next worker knows them as it would hear of them from an engine.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from django.conf import settings

from apps.coes.contracts import ClientIdentity, EngineNotReady, FormCluster, Node, NodeHealth, NodeState
from apps.coes.swarm import Swarm


class Engineless(Swarm):
    """The COE of tests on fake hypervisors."""

    def form_cluster(self, order: FormCluster) -> list[NodeState]:
        """Every node that was asked for is a member."""
        order.alive()
        members = _members_file(order.identity)
        members.parent.mkdir(exist_ok=True)
        members.write_text(json.dumps([node.hostname for node in order.nodes]))
        for number, node in enumerate(order.nodes, start=1):
            order.on_progress(number, len(order.nodes), f"{node.hostname} is in the swarm")
        return [_state(node) for node in order.nodes]

    def retire_node(self, *, node: Node, managers: Sequence[Node], identity: ClientIdentity, patience: float) -> None:
        """Forget the node."""
        del managers, patience
        members = _members_file(identity)
        members.write_text(json.dumps([name for name in json.loads(members.read_text()) if name != node.hostname]))

    def observe(self, *, managers: Sequence[Node], identity: ClientIdentity) -> list[NodeState]:
        """Tell who was a member last."""
        try:
            names = json.loads(_members_file(identity).read_text())
        except FileNotFoundError:
            raise EngineNotReady("This cluster was never formed.") from None
        first = managers[0]
        return [_state(Node(ref="", hostname=name, role=first.role, address=first.address, reach=first.reach)) for name in names]


def _state(node: Node) -> NodeState:
    name = f"member-{node.hostname}"
    return NodeState(node_id=name, hostname=node.hostname, address=node.address, role=node.role, health=NodeHealth.READY)


def _members_file(identity: ClientIdentity) -> Path:
    return Path(settings.VAR_DIR) / "engineless" / f"{hashlib.sha256(identity.ca_pem).hexdigest()[:20]}.json"
