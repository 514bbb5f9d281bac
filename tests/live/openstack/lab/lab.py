"""A real OpenStack for tests: Keystone, Placement, Glance, Neutron, Nova of the distribution, and hypervisors without machines."""

import fcntl
import json
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Literal, Self

from openstack.connection import Connection

from carina_portal.embedded.layout import EmbeddedError, write_private
from carina_portal.embedded.terminal import Step, Terminal
from tests.live.openstack.lab import configs, identity, packages, report, services, world
from tests.live.openstack.lab import real as real_lane
from tests.live.openstack.lab.databases import Databases
from tests.live.openstack.lab.identity import Limits
from tests.live.openstack.lab.place import ADDRESS, FakeHost, Place, default_state
from tests.live.openstack.lab.services import Service, program

LOCK = Path(f"/run/lock/carina-openstack-{ADDRESS}")
LOCK_SECONDS = float(os.environ.get("CARINA_TEST_OPENSTACK_WAIT_SECONDS", "240"))

Spawn = Literal["", "hang", "fail", "delay"]
Destroy = Literal["", "hang", "refuse", "delay"]


class Lab:
    """One OpenStack. Use as a context, or call `start` and `stop`; one at a time runs on an address (CARINA_TEST_OPENSTACK_ADDRESS).

    `state` is its directory (by default that of this clone, see `place.default_state`); what is there is continued, on the address it was
    made for, and `wipe` forgets it.
    """

    def __init__(self, *, state: Path | None = None, hosts: Sequence[FakeHost] = world.HOSTS, terminal: Terminal | None = None) -> None:
        self.place = Place(state or default_state())
        self.hosts = {host.name: host for host in hosts}
        self._terminal = terminal or Terminal(quiet=True)
        self._databases = Databases(self.place)
        self._real = real_lane.Real(self.place)
        self._services: dict[str, Service] = {}
        self._lock: IO[str] | None = None
        self._admin: Connection | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    @property
    def clouds_yaml(self) -> Path:
        """For OS_CLIENT_CONFIG_FILE; its clouds are `place.CREDENTIALS`."""
        return self.place.clouds_yaml

    @property
    def admin(self) -> Connection:
        """openstacksdk as administrator."""
        if self._admin is None:
            self._admin = self.connect(cloud="admin")
        return self._admin

    @property
    def services(self) -> list[str]:
        """Names for `kill`, `stop_service` and `start_service`."""
        return list(self._services)

    def connect(self, *, cloud: str = "carina") -> Connection:
        """Return a new connection of openstacksdk; the caller closes it."""
        return identity.connect(place=self.place, name=cloud)

    def start(self, *, real: bool = False) -> Self:
        """Install what is missing and start everything, with `real` also hypervisors that boot instances.

        Raises EmbeddedError saying what is in the way; nothing is left running then.
        """
        if self._services:
            return self.start_real() if real else self
        self._take_lock()
        try:
            self._start()
            if real:
                self.start_real()
        except BaseException:
            self.stop()
            raise
        return self

    def start_real(self) -> Self:
        """Add the hypervisors of `real.HOSTS`, with their aggregates and flavors, to a lab that runs. Raises EmbeddedError."""
        reason = real_lane.why_impossible()
        if reason:
            raise EmbeddedError(reason)
        if "neutron-dhcp" not in self._services:
            with self._terminal.step("OpenStack's real hypervisors") as step:
                packages.install(real=True, log=self.place.logs / "apt.log", step=step)
                self._start_real(step)
        return self

    def attach(self) -> Self:
        """Use a lab that another process started from the same state: all but killing and starting its services works.

        Raises EmbeddedError if none runs.
        """
        if not self.clouds_yaml.exists() or not services.answers("identity"):
            raise EmbeddedError(f"No test OpenStack from {self.place.state} answers on {ADDRESS}: python -m tests.live.openstack.lab")
        return self

    def stop(self) -> None:
        """Stop everything; the state stays."""
        if self._admin is not None:
            self._admin.close()
            self._admin = None
        running = [self._services.pop(name) for name in reversed(list(self._services))]
        databases = {"mariadb", "rabbitmq", "epmd"}
        for service in running:
            if service.child.name not in databases:
                service.child.ask_to_stop()
        for service in running:
            service.child.stop()
        if self._lock is not None:
            self._real.clean()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def wipe(self) -> None:
        """Forget the state of a lab that does not run; what is cached for the next one stays. Raises EmbeddedError while it runs."""
        if self._services:
            raise EmbeddedError("The test OpenStack runs; stop it before wiping it.")
        self._take_lock()
        try:
            self._real.clean()
            shutil.rmtree(self.place.state, ignore_errors=True)
        finally:
            self.stop()

    def kill(self, name: str) -> None:
        """Kill a service with everything in its process group (kill -9) and leave it dead."""
        self._service(name).child.kill()

    def stop_service(self, name: str) -> None:
        """End a service in order."""
        self._service(name).child.stop()

    def start_service(self, name: str) -> None:
        """Start a service that was killed or stopped; returns when it answers. Raises EmbeddedError if it does not."""
        service = self._service(name)
        if service.child.alive:
            return
        service.start()
        service.wait()

    def heal(self) -> None:
        """Start again whatever was killed or stopped, and forget all bad manners."""
        self.behave()
        for name in self.services:
            self.start_service(name)

    def misbehave(self, *, host: str, spawn: Spawn = "", destroy: Destroy = "", seconds: float = 5) -> None:
        """Tell a fake hypervisor how to treat servers from now on.

        `spawn`: `hang` until `behave`, `fail` (the server ends in ERROR), `delay` by `seconds`; `destroy`: likewise, and `refuse` is
        a failure (the server goes to ERROR and stays). What hangs already follows, too.
        """
        manners = {"spawn": spawn, "destroy": destroy, "seconds": seconds}
        write_private(path=self._folder(self.hosts[host]) / "manners.json", content=json.dumps(manners))

    def behave(self, *, host: str = "") -> None:
        """Let one fake hypervisor, or all, do as asked again."""
        for name in [host] if host else list(self.hosts):
            (self._folder(self.hosts[name]) / "manners.json").unlink(missing_ok=True)

    def set_quota(self, *, project: str = "carina", compute: Limits | None = None, network: Limits | None = None) -> None:
        """Change limits of a project, by Nova's and Neutron's names; `reset_quota` brings back those of `identity`."""
        identity.set_quota(admin=self.admin, project=project, compute=compute, network=network)

    def reset_quota(self) -> None:
        """Give the project `carina` room for 300 servers at once."""
        self.set_quota(compute=identity.COMPUTE_QUOTA, network=identity.NETWORK_QUOTA)

    def log(self, name: str) -> str:
        """Return all that a service wrote."""
        return self._services[name].child.log.read_text(errors="replace")

    def report(self) -> str:
        """Return in a few lines what the services are at, for the report of a failed test."""
        return report.of(self._services)

    def _start(self) -> None:
        place = self.place
        self._real.clean()  # what a lab that was killed left
        place.check_ports()
        place.create()
        with self._terminal.step("OpenStack's packages") as step:
            packages.install(real=False, log=place.logs / "apt.log", step=step)
        configs.write_all(place=place)
        identity.write_clouds_yaml(place=place)
        self._services.update(self._databases.services())
        with self._terminal.step("OpenStack's databases"):
            self._start_databases()
        with self._terminal.step("OpenStack's services") as step:
            self._start_services(step)
        with self._terminal.step("OpenStack's fake hypervisors"):
            self._start_hosts()

    def _start_databases(self) -> None:
        self._databases.prepare()
        for name in ("mariadb", "epmd", "rabbitmq"):
            self._services[name].start()
        self._databases.ensure_keys()
        self._services["mariadb"].wait()
        self._databases.ensure_schemas()

    def _start_services(self, step: Step) -> None:
        apis, workers = services.apis(self.place), services.workers(self.place)
        self._services.update({**apis, **workers})
        self._services["rabbitmq"].wait()
        for api in apis.values():
            api.start()
        apis["keystone"].wait()
        if not self._databases.has_catalogue():
            step.detail("identities")
            with self.connect(cloud="admin") as admin:  # one of its own: it will not see the catalogue that it makes
                identity.ensure(place=self.place, admin=admin)
            self._databases.keep()
        # The conductor and the scheduler sign in when they start, and end if they cannot.
        for name, service in workers.items():
            step.detail(name)
            service.start()
        # A nova-compute that starts before the conductor listens tries again only after ten seconds.
        workers["nova-conductor"].wait()
        for host in self.hosts.values():
            self._services[f"nova-compute-{host.name}"] = self._compute(host)
            self._services[f"nova-compute-{host.name}"].start()
        for name, service in {**apis, **workers}.items():
            step.detail(name)
            service.wait()

    def _start_hosts(self) -> None:
        world.ensure(admin=self.admin)
        self.reset_quota()
        world.wait_for_hosts(admin=self.admin, names=list(self.hosts))
        for host in self.hosts.values():
            world.ensure_aggregate(admin=self.admin, name=host.aggregate, container_host=host.metadata, hosts=[host.name])

    def _start_real(self, step: Step) -> None:
        self._add(self._real.network())
        for host in real_lane.HOSTS:
            step.detail(host.name)
            self._add({f"namespaces-{host.name}": self._real.hold(host)})
            holder = self._services[f"namespaces-{host.name}"]
            holder.wait()
            self._add({f"libvirtd-{host.name}": self._real.libvirtd(host, holder=holder.child.pid)})
            self._services[f"libvirtd-{host.name}"].wait()
            self._add({f"nova-compute-{host.name}": self._real.compute(host, holder=holder.child.pid)})
        step.detail("metadata")
        self._services["nova-metadata"].wait()
        world.wait_for_hosts(admin=self.admin, names=[host.name for host in real_lane.HOSTS])
        for host in real_lane.HOSTS:
            name = host.aggregate
            world.ensure_aggregate(admin=self.admin, name=name, container_host=name, hosts=[host.name])
            world.ensure_flavor(admin=self.admin, name=name, metadata=name, **real_lane.FLAVOR)

    def _add(self, started: dict[str, Service]) -> None:
        self._services.update(started)
        for service in started.values():
            service.start()

    def _compute(self, host: FakeHost) -> Service:
        folder = self._folder(host)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "manners.json").unlink(missing_ok=True)
        (folder / "size.json").write_text(json.dumps({"vcpus": host.vcpus, "memory_mb": host.memory_mb, "local_gb": host.disk_gb}))
        own = configs.write_host(place=self.place, host=host)
        launcher = self.place.python / "carina_lab" / "compute.py"
        argv = ["/usr/bin/python3", str(launcher), f"--config-file={self.place.etc}/nova/compute.conf", f"--config-file={own}"]
        name = f"nova-compute-{host.name}"
        return program(place=self.place, name=name, argv=argv, words="Starting compute node", ready=lambda: self._reported(host.name))

    def _reported(self, host: str) -> bool:
        """Whether Nova calls a hypervisor up, by a report younger than its process."""
        found = next(iter(self.admin.compute.services(binary="nova-compute", host=host)), None)
        return found is not None and found.state == "up" and str(found.updated_at) >= self._services[f"nova-compute-{host}"].started

    def _service(self, name: str) -> Service:
        if name not in self._services:
            known = ", ".join(self._services) or "none: it was started by another process, which alone can"
            raise EmbeddedError(f"There is no service {name} to kill or start; there is {known}.")
        return self._services[name]

    def _folder(self, host: FakeHost) -> Path:
        return self.place.state / "nova" / host.name

    def _take_lock(self) -> None:
        """Wait until no other lab runs on this address; raises EmbeddedError after LOCK_SECONDS."""
        LOCK.parent.mkdir(parents=True, exist_ok=True)
        file = LOCK.open("a+")
        try:
            self._wait_for(file)
        except BaseException:
            file.close()
            raise
        file.truncate(0)
        file.write(f"process {os.getpid()}, {self.place.state}")
        file.flush()
        self._lock = file

    def _wait_for(self, lock: IO[str]) -> None:
        deadline, told = time.monotonic() + LOCK_SECONDS, False
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = LOCK.read_text().strip()
                if time.monotonic() > deadline:
                    raise EmbeddedError(f"Another test OpenStack runs on {ADDRESS} ({holder}): wait for it, or stop it.") from None
                if not told:
                    self._terminal.say(f"  Waiting for another test OpenStack on {ADDRESS} to stop: {holder}")
                    told = True
                time.sleep(1)
            else:
                return
