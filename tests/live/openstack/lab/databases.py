"""MariaDB and RabbitMQ of the lab, and OpenStack's schemas: made once per package version, then read back from a dump."""

import glob
import hashlib
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from carina_portal.embedded import process
from carina_portal.embedded.layout import EmbeddedError, write_private
from tests.live.openstack.lab import configs, packages
from tests.live.openstack.lab.place import ADDRESS, CREDENTIALS, EPMD_PORT, ERLANG_PORT, PORTS, REGION, SERVICE_USERS, Place
from tests.live.openstack.lab.services import ENVIRONMENT, Service, listens, program

SCHEMAS = ("keystone", "placement", "glance", "neutron", "nova_api", "nova", "nova_cell0")
ANYWHERE = "address.of.the.lab"
"""Stands for ADDRESS in the dump, which labs on all addresses share."""


class Databases:
    """Everything below the services of OpenStack."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._data, self._rabbit = place.state / "mariadb", place.state / "rabbitmq"
        self._log = place.logs / "schemas.log"

    def services(self) -> dict[str, Service]:
        """Return the processes, in the order in which they start."""
        return {"mariadb": self._mariadb(), "epmd": self._epmd(), "rabbitmq": self._rabbitmq()}

    def prepare(self) -> None:
        """Make MariaDB's directory and RabbitMQ's configuration, if they are not there."""
        if not (self._data / "mysql").is_dir():
            shutil.rmtree(self._data, ignore_errors=True)
            arguments = ["--no-defaults", "--user=root", f"--datadir={self._data}", "--skip-test-db"]
            argv = ["/usr/bin/mariadb-install-db", *arguments, "--auth-root-authentication-method=socket"]
            process.run(argv=argv, log=self._place.logs / "mariadb-install.log", env=ENVIRONMENT)
        self._rabbit.mkdir(exist_ok=True)
        (self._rabbit / "enabled_plugins").write_text("[].\n")
        values = {"address": ADDRESS, "rabbit_port": str(PORTS["rabbit"]), "password": self._place.password}
        configs.write(self._rabbit / "rabbitmq.conf", template="rabbitmq.conf", values=values)

    def ensure_keys(self) -> None:
        """Make Keystone's keys for tokens and credentials, if they are not there."""
        config = f"--config-file={self._place.etc}/keystone/keystone.conf"
        for kind in ("fernet", "credential"):
            if not (self._place.etc / "keystone" / f"{kind}-keys").is_dir():
                argv = ["keystone-manage", config, f"{kind}_setup", "--keystone-user", "root", "--keystone-group", "root"]
                process.run(argv=argv, log=self._log, env=ENVIRONMENT)

    def ensure_schemas(self) -> None:
        """Make all databases, from the dump if there is one. What an interrupted start left half done is made anew."""
        complete = self._data / "schemas-complete"
        if complete.exists():
            return
        self.query("".join(f"drop database if exists {name}; " for name in SCHEMAS))
        if self._dump.exists():
            self._client(["mariadb"], text=self._dump.read_text().replace(ANYWHERE, ADDRESS))
        else:
            self._make_schemas()
        complete.touch()

    def has_catalogue(self) -> bool:
        """Whether the last thing that `identity.ensure` makes is there: the three endpoints of Nova."""
        return (
            self.query("select count(*) from keystone.endpoint e join keystone.service s on e.service_id=s.id where s.type='compute'")
            == "3\n"
        )

    def keep(self) -> None:
        """Write the dump that the next lab starts from; it holds hashes of passwords, so only its owner may read it."""
        dump = self._client(["mariadb-dump", "--databases", *SCHEMAS])
        self._dump.parent.mkdir(parents=True, exist_ok=True)
        write_private(path=self._dump, content=f"{self._grant()}\n{dump.replace(ADDRESS, ANYWHERE)}")

    def query(self, sql: str) -> str:
        """Run SQL as root and return what came of it, columns separated by tabs."""
        return self._client(["mariadb", "--skip-column-names"], text=sql)

    def answers(self) -> bool:
        """Whether MariaDB does."""
        argv = ["mariadb-admin", "--no-defaults", f"--socket={self._place.database_socket}", "ping"]
        return subprocess.run(argv, capture_output=True, check=False, env=ENVIRONMENT).returncode == 0

    @property
    def _dump(self) -> Path:
        basis = [packages.versions(), str(PORTS), self._place.password, REGION, str(CREDENTIALS), str(SERVICE_USERS)]
        return self._place.cache / f"schemas-{hashlib.sha256('|'.join(basis).encode()).hexdigest()[:12]}.sql"

    def _grant(self) -> str:
        return f"grant all on *.* to 'os'@'127.%' identified by '{self._place.password}';"

    def _make_schemas(self) -> None:
        etc, env = self._place.etc, ENVIRONMENT
        self.query("".join(f"create database {name} character set utf8mb3; " for name in SCHEMAS) + self._grant())
        neutron = [f"--config-file={etc}/neutron/{name}" for name in ("neutron.conf", "ml2.ini")]
        nova = ["nova-manage", f"--config-file={etc}/nova/nova.conf"]
        keystone = ["keystone-manage", f"--config-file={etc}/keystone/keystone.conf"]
        # Two processors, two chains.
        chains: list[list[Sequence[str]]] = [
            [
                [*keystone, "db_sync"],
                ["glance-manage", f"--config-file={etc}/glance/glance-api.conf", "db_sync"],
                [*nova, "api_db", "sync"],
            ],
            [
                ["neutron-db-manage", *neutron, "upgrade", "heads"],
                ["placement-manage", f"--config-file={etc}/placement/placement.conf", "db", "sync"],
            ],
        ]
        with ThreadPoolExecutor() as pool:
            for done in [pool.submit(self._all, chain, number, env) for number, chain in enumerate(chains)]:
                done.result()
        # The cell of servers that found no host is a database like `nova`, named after it (nova-manage cell_v2 map_cell0).
        self._all([[*nova, "cell_v2", "map_cell0"], [*nova, "db", "sync"], [*nova, "cell_v2", "create_cell", "--name", "cell1"]], 0, env)
        url = f"{self._place.url('identity')}/v3"
        urls = [f"--bootstrap-{kind}-url={url}" for kind in ("public", "internal", "admin")]
        secret = {**env, "OS_BOOTSTRAP_PASSWORD": self._place.password}
        self._all([[*keystone, "bootstrap", f"--bootstrap-region-id={REGION}", *urls]], 0, secret)

    def _all(self, chain: Sequence[Sequence[str]], number: int, env: Mapping[str, str]) -> None:
        log = self._log.with_name(f"schemas-{number}.log")
        for argv in chain:
            process.run(argv=argv, log=log, env=env, what=" ".join(word for word in argv if not word.startswith("-")))

    def _client(self, argv: Sequence[str], *, text: str | None = None) -> str:
        command = [argv[0], "--no-defaults", f"--socket={self._place.database_socket}", *argv[1:]]
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, env=ENVIRONMENT)
        if done.returncode:
            raise EmbeddedError(f"{argv[0]} failed: {done.stderr.strip()}")
        return done.stdout

    def _mariadb(self) -> Service:
        options = {
            "user": "root",
            "datadir": self._data,
            "bind-address": ADDRESS,
            "port": PORTS["mariadb"],
            "socket": self._place.database_socket,
            "pid-file": self._data / "pid",
            "max-connections": 500,
            "innodb-buffer-pool-size": "64M",
            "performance-schema": "OFF",
            "character-set-server": "utf8mb3",
            "collation-server": "utf8mb3_general_ci",
            # Nothing here must survive a power cut.
            "innodb-flush-log-at-trx-commit": 0,
            "innodb-flush-method": "nosync",
            "innodb-doublewrite": 0,
        }
        settings = [f"--{name}={value}" for name, value in options.items()]
        argv = ["mariadbd", "--no-defaults", "--skip-name-resolve", "--skip-log-bin", *settings]
        return program(place=self._place, name="mariadb", argv=argv, ready=self.answers)

    def _epmd(self) -> Service:
        """Erlang's name server: started here, because one that RabbitMQ starts would outlive it."""
        argv = ["epmd", "-port", str(EPMD_PORT), "-address", "127.0.0.1"]
        names = ["epmd", "-port", str(EPMD_PORT), "-names"]
        return program(
            place=self._place,
            name="epmd",
            argv=argv,
            ready=lambda: subprocess.run(names, capture_output=True, check=False, env=ENVIRONMENT).returncode == 0,
        )

    def _rabbitmq(self) -> Service:
        folder = self._rabbit
        erlang = f"-noinput +S 1:1 +sbwt none -kernel inet_dist_use_interface {{{ADDRESS.replace('.', ',')}}}"
        env = {
            "HOME": str(folder),  # Erlang's cookie
            "ERL_EPMD_PORT": str(EPMD_PORT),
            "RABBITMQ_NODENAME": "carina-lab@localhost",
            "RABBITMQ_DIST_PORT": str(ERLANG_PORT),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": erlang,
            "RABBITMQ_ALLOW_INPUT": "1",  # no shell of its own around it, so that signals reach it
        }
        server = next(iter(sorted(glob.glob("/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server"))), "")  # noqa: PTH207
        return program(place=self._place, name="rabbitmq", argv=[server], env=env, ready=lambda: listens("rabbit"), grace=10)
