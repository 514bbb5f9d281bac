"""The local stack with real servers: they start, keep what they hold, and end, whatever happens to whoever started them."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from carina_portal.embedded.layout import ROOT, EmbeddedError, Layout, is_root
from carina_portal.embedded.stack import AlreadyRuns, Stack, running_environment


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """A stack without hosts, not started. Its `var` lies where only root may enter, as in a clone below /root."""
    made = Stack(var=tmp_path / "var", port=1, incus=False)
    yield made
    made.stop()


def _processes_of(stack: Stack) -> list[str]:
    """Return the command lines of all processes that name the stack's directories."""
    marks = (str(stack.layout.var), str(stack.layout.run))
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                command = (entry / "cmdline").read_text(errors="replace").replace("\0", " ")
            except OSError:
                continue
            if any(mark in command for mark in marks):
                found.append(command)
    return found


def _wait_until_no_process_of(stack: Stack) -> None:
    deadline = time.monotonic() + 30
    while left := _processes_of(stack):
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def test_the_portals_role_is_bound_by_row_level_security_and_writes_are_safe(stack: Stack) -> None:
    stack.start_databases()
    with psycopg.connect(stack.env["DATABASE_URL"]) as connection:
        row = connection.execute(
            "SELECT rolsuper, rolbypassrls, rolcreaterole, current_setting('fsync'), current_setting('listen_addresses') "
            "FROM pg_roles WHERE rolname = current_user"
        ).fetchone()
    assert row == (False, False, False, "on", "")


def test_the_portals_role_owns_nothing_and_cannot_rewrite_history(stack: Stack) -> None:
    stack.start_databases()
    stack.prepare_database()
    with psycopg.connect(stack.env["DATABASE_URL"], autocommit=True) as connection:
        owned = connection.execute("SELECT count(*) FROM pg_class WHERE pg_get_userbyid(relowner) = current_user").fetchone()
        assert owned == (0,)
        assert connection.execute("SELECT pg_has_role(current_user, 'carina', 'member')").fetchone() == (False,)
        for statement in (
            "CREATE TABLE public.mine (id int)",
            "ALTER TABLE bays_bay DISABLE ROW LEVEL SECURITY",
            "DROP POLICY only_in_scope ON bays_bay",
            "TRUNCATE bays_bay",
            "UPDATE audit_auditevent SET sentence = ''",
            "DELETE FROM operations_event",
            "DELETE FROM django_migrations",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)
    assert all("DATABASE_OWNER_URL" not in child.env for child in stack.children.values())


def test_data_survive_a_restart_and_no_process_stays(stack: Stack) -> None:
    stack.start_databases()
    with psycopg.connect(stack.developers_env["DATABASE_OWNER_URL"], autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    stack.stop()
    assert _processes_of(stack) == []
    assert not stack.layout.environment.exists()
    assert not stack.layout.run.exists()
    stack.start_databases()
    with psycopg.connect(stack.developers_env["DATABASE_OWNER_URL"]) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)


def test_nobody_gets_in_without_the_passwords(stack: Stack) -> None:
    stack.start_databases()
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(f"postgresql://carina:wrong@/carina?host={stack.layout.run / 'pg'}")
    with redis.Redis(unix_socket_path=str(stack.layout.run / "redis.sock")) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()


def test_emptying_redis_empties_it(stack: Stack) -> None:
    stack.start_databases()
    with redis.Redis.from_url(stack.env["REDIS_URL"]) as client:
        client.set("message", "lost")
        stack.flush_redis()
        assert client.get("message") is None


def test_no_secret_stands_in_a_process_list_or_a_log(stack: Stack) -> None:
    stack.start_databases()
    seen = "\n".join(_processes_of(stack) + [path.read_text(errors="replace") for path in stack.layout.logs.iterdir()])
    assert "postgres" in seen
    assert [path.name for path in stack.layout.secrets.iterdir() if path.name != "installation" and path.read_text() in seen] == []


def test_a_second_stack_on_the_same_state_is_refused_and_harms_nothing(stack: Stack) -> None:
    stack.start_databases()
    second = Stack(var=stack.layout.var, port=2, incus=False)
    with pytest.raises(AlreadyRuns, match="Stop that one first"):
        second.start()
    assert running_environment(layout=stack.layout) == stack.developers_env
    with psycopg.connect(stack.env["DATABASE_URL"]) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_server_that_dies_is_started_again_and_said(stack: Stack) -> None:
    stack.start_databases()
    broker = stack._broker
    assert broker is not None
    assert broker.child is not None
    os.kill(broker.child.pid, signal.SIGKILL)
    said: list[str] = []
    deadline = time.monotonic() + 20
    while not any("Redis started again" in sentence for sentence in said):
        assert time.monotonic() < deadline, said
        said += stack.tend()
        time.sleep(0.05)
    broker.wait()
    assert "Redis ended with status -9" in said[0]


def test_a_pid_file_that_names_another_program_by_now_is_forgotten(stack: Stack) -> None:
    stack.start_databases()
    stack.stop()
    bystander = subprocess.Popen(["sleep", "60"])
    try:
        (stack.layout.postgres / "postmaster.pid").write_text(f"{bystander.pid}\n{stack.layout.postgres}\n")
        stack.start_databases()
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_a_half_made_cluster_is_made_again(stack: Stack) -> None:
    stack.layout.var.mkdir()
    (stack.layout.var / "postgres.new").mkdir()
    (stack.layout.var / "postgres.new" / "PG_VERSION").write_text("18\n")
    stack.start_databases()
    with psycopg.connect(stack.env["DATABASE_URL"]) as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("carina_portal",)


def test_data_of_another_postgresql_are_not_touched(stack: Stack) -> None:
    stack.layout.postgres.mkdir(parents=True)
    (stack.layout.postgres / "PG_VERSION").write_text("13\n")
    with pytest.raises(EmbeddedError, match="made by PostgreSQL 13"):
        stack.start_databases()
    assert [path.name for path in stack.layout.postgres.iterdir()] == ["PG_VERSION"]


def test_a_port_that_is_taken_is_said_with_a_way_out(stack: Stack, unused_tcp_listener: int) -> None:
    stack.port = unused_tcp_listener
    stack.start_databases()
    with pytest.raises(EmbeddedError, match="make run PORT="):
        stack.start_web()


@pytest.fixture
def unused_tcp_listener() -> Iterator[int]:
    import socket  # noqa: PLC0415 - only here

    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


# --- as commands ---------------------------------------------------------------------------------------------------------------------


def _command(stack: Stack, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "carina_portal.embedded", *arguments]


def _outer_environment(stack: Stack) -> dict[str, str]:
    return {**{name: value for name, value in os.environ.items() if not name.startswith("CARINA_")}, "CARINA_VAR": str(stack.layout.var)}


def _services(stack: Stack) -> "subprocess.Popen[bytes]":
    running = subprocess.Popen(
        _command(stack, "services", "--no-incus"), cwd=ROOT, env=_outer_environment(stack), stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while not running_environment(layout=stack.layout):
        assert running.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return running


@pytest.fixture
def _no_nohup() -> Iterator[None]:
    """A stack started under nohup(1) ignores SIGHUP on purpose, also when it is these tests that were started so."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.usefixtures("_no_nohup")
def test_a_signal_ends_everything_in_good_order(stack: Stack, number: signal.Signals) -> None:
    running = _services(stack)
    running.send_signal(number)
    assert running.wait(30) == 0
    assert _processes_of(stack) == []


def test_after_kill_9_nothing_runs_on_and_the_next_start_finds_the_data(stack: Stack) -> None:
    running = _services(stack)
    env = running_environment(layout=stack.layout)
    with psycopg.connect(env["DATABASE_OWNER_URL"], autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    running.kill()
    running.wait()
    _wait_until_no_process_of(stack)
    stack.start_databases()
    with psycopg.connect(stack.developers_env["DATABASE_OWNER_URL"]) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)


def test_exec_uses_the_services_that_run_and_passes_the_exit_status_on(stack: Stack) -> None:
    running = _services(stack)
    try:
        script = "import os, sys; print(os.environ['DATABASE_URL']); sys.exit(7)"
        done = subprocess.run(
            _command(stack, "exec", "--", sys.executable, "-c", script),
            cwd=ROOT,
            env=_outer_environment(stack),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 7
        assert done.stdout.strip() == running_environment(layout=stack.layout)["DATABASE_URL"]
    finally:
        running.terminate()
        running.wait()


def test_exec_starts_services_for_its_time_where_none_run(stack: Stack) -> None:
    script = "import os, psycopg; print(psycopg.connect(os.environ['DATABASE_URL']).execute('SELECT 42').fetchone()[0])"
    done = subprocess.run(
        _command(stack, "exec", "--", sys.executable, "-c", script),
        cwd=ROOT,
        env=_outer_environment(stack),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout.strip(), done.returncode) == ("42", 0), done.stderr
    assert _processes_of(stack) == []


@pytest.mark.skipif(not is_root(), reason="only root can become another user")
def test_without_root_the_stack_says_that_no_local_hosts_are_possible_and_how_to_add_a_cloud(tmp_path: Path) -> None:
    code = (
        "import os, pathlib, sys\n"
        "from carina_portal.embedded.incus import Incus, NoLocalHosts\n"
        "from carina_portal.embedded.layout import Layout\n"
        "from carina_portal.embedded.terminal import Terminal\n"
        f"layout = Layout(pathlib.Path({str(tmp_path)!r}))\n"
        "layout.create()\n"
        "incus = Incus(layout=layout)\n"
        "os.setresuid(65534, 65534, 65534)\n"
        "try:\n"
        "    incus.prepare(terminal=Terminal())\n"
        "except NoLocalHosts as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "needs root" in done.stdout
    assert "add_cloud --help" in done.stdout


def test_what_is_written_down_of_a_running_stack_is_for_its_owner_only(stack: Stack) -> None:
    stack.start_databases()
    assert stack.layout.environment.stat().st_mode & 0o777 == 0o600
    assert json.loads(stack.layout.environment.read_text()) == stack.developers_env
    assert running_environment(layout=Layout(stack.layout.var / "elsewhere")) == {}
