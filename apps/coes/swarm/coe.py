from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import datetime
from typing import ClassVar

from apps.coes.base import CoeVersion, Notice
from apps.coes.contracts import (
    ClientIdentity,
    EngineError,
    EngineNotReady,
    FormCluster,
    Node,
    NodeState,
    QuorumLost,
    Role,
    ServerIdentity,
)
from apps.coes.docker_api import DockerApi
from apps.coes.env_scripts import Variables, scripts
from apps.coes.swarm import certificates
from apps.coes.swarm.formation import Formation
from apps.coes.swarm.members import Member, best_by_hostname, list_members, replace_join_tokens
from apps.coes.swarm.retirement import retire
from apps.coes.swarm.texts import notices_for, readme
from apps.hosts.contracts import HostFile


class Swarm:
    """Docker in swarm mode, driven through the Docker API of its managers."""

    name: ClassVar[str] = "swarm"
    title: ClassVar[str] = "Docker Swarm"
    sentence: ClassVar[str] = (
        "Docker as you know it on one host or on many: images, compose files, services and stacks with the docker command."
    )
    image: ClassVar[str] = "carina-node-swarm"
    os_types: ClassVar[tuple[str, ...]] = ("linux",)
    engine_port: ClassVar[int] = 2376
    manager_counts: ClassVar[tuple[int, ...]] = (1, 3, 5)
    versions: ClassVar[tuple[CoeVersion, ...]] = (CoeVersion(name="26.1.5", default=True),)

    def host_files(self, *, hostname: str, role: Role, identity: ServerIdentity) -> tuple[HostFile, ...]:
        """Return the host's name and its engine's certificate, where the node image looks for them. Roles are given later, by joining."""
        del role
        hosts = f"127.0.0.1 localhost\n127.0.1.1 {hostname}\n::1 localhost ip6-localhost ip6-loopback\n"
        return (
            HostFile(path="/etc/hostname", content=f"{hostname}\n".encode()),
            HostFile(path="/etc/hosts", content=hosts.encode()),
            HostFile(path="/etc/docker/tls/ca.pem", content=identity.ca_pem),
            HostFile(path="/etc/docker/tls/server-key.pem", content=identity.key_pem, mode="0600"),
            HostFile(path="/etc/docker/tls/server.pem", content=identity.certificate_pem),
        )

    def form_cluster(self, order: FormCluster) -> list[NodeState]:
        """Make the nodes one swarm; see `Coe.form_cluster` for what is promised and `formation` for how."""
        with DockerApi(identity=order.identity) as api:
            return Formation(order=order, api=api).run()

    def retire_node(self, *, node: Node, managers: Sequence[Node], identity: ClientIdentity, patience: float) -> None:
        """Drain the node, let it leave, and forget it; see `Coe.retire_node`."""
        with DockerApi(identity=identity) as api:
            retire(api=api, node=node, managers=managers, patience=patience)

    def observe(self, *, managers: Sequence[Node], identity: ClientIdentity) -> list[NodeState]:
        """Ask all managers at once for the members and return what the first one says; see `Coe.observe`."""
        if not managers:
            raise EngineNotReady("The bay has no manager to ask.")
        errors: list[EngineError] = []
        with DockerApi(identity=identity) as api:
            if len(managers) == 1:
                return _states(list_members(api=api, manager=managers[0]))
            with ThreadPoolExecutor(max_workers=len(managers), thread_name_prefix="observe") as pool:
                for future in as_completed([pool.submit(list_members, api=api, manager=manager) for manager in managers]):
                    try:
                        return _states(future.result())
                    except EngineError as error:
                        errors.append(error)
        raise min(errors, key=lambda error: (not isinstance(error, QuorumLost), error.transient))

    def accepts(self, *, node: Node, identity: ClientIdentity) -> bool:
        """Tell whether engine and identity know each other by their authorities; see `Coe.accepts`."""
        return certificates.accepts(node=node, identity=identity)

    def replace_certificate(self, *, node: Node, identity: ClientIdentity, server: ServerIdentity, cut: bool, patience: float) -> None:
        """Give a running host another certificate; see `Coe.replace_certificate` for what is promised and `certificates` for how."""
        certificates.replace(node=node, identity=identity, server=server, cut=cut, patience=patience)

    def replace_secrets(self, *, managers: Sequence[Node], identity: ClientIdentity) -> None:
        """Change the swarm's join tokens, by the first manager that does it; whoever knew the old ones can add no node of his own."""
        error: EngineError = EngineNotReady("The bay has no manager to ask.")
        with DockerApi(identity=identity) as api:
            for manager in managers:
                try:
                    replace_join_tokens(api=api, manager=manager)
                except (EngineNotReady, QuorumLost) as trouble:
                    error = trouble
                else:
                    return
        raise error

    def notices(self, *, limitations: Sequence[str]) -> list[Notice]:
        """Return what users must know on a cloud with these limitations."""
        return notices_for(limitations=limitations)

    def bundle_files(
        self, *, bay: str, endpoint: str, version: str, notices: Sequence[Notice], expires_at: datetime | None = None
    ) -> dict[str, str]:
        """Return the env scripts and README.md. `endpoint` is `tcp://address:port`; raises ValueError for text no script could hold."""
        variables = Variables(prefix="docker", endpoint=endpoint, version=version, bay=bay)
        return {**scripts(variables), "README.md": readme(bay=bay, endpoint=endpoint, notices=notices, expires_at=expires_at)}


def _states(members: Sequence[Member]) -> list[NodeState]:
    return [member.state() for member in best_by_hostname(members).values()]
