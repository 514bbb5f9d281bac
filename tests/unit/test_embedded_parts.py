"""The local stack's small parts: what needs no server to be tried."""

import base64
import io
import os
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from carina_portal.embedded import image, machine, portal, process, terminal
from carina_portal.embedded.keys import ensure_keys
from carina_portal.embedded.layout import ROOT, SOCKET_PATH_MAX, EmbeddedError, Layout, is_root, write_private

ENV = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(tmp_path / "var")
    made.create()
    return made


def test_secrets_are_made_once_and_only_their_owner_may_read_them(layout: Layout) -> None:
    first = ensure_keys(layout=layout)
    kept = {path.name: path.read_text() for path in layout.secrets.iterdir()}
    second = ensure_keys(layout=layout)
    assert first == second
    assert kept == {path.name: path.read_text() for path in layout.secrets.iterdir()}
    assert {stat.S_IMODE(path.stat().st_mode) for path in layout.secrets.iterdir()} == {0o600}
    assert stat.S_IMODE(layout.secrets.stat().st_mode) == 0o700
    key_id, _, key = first.vault_keys_file.read_text().partition(":")
    assert key_id
    assert len(base64.b64decode(key)) == 32


def test_no_secret_shows_when_the_keys_are_printed(layout: Layout) -> None:
    keys = ensure_keys(layout=layout)
    assert not any(secret in repr(keys) for secret in (keys.postgres, keys.postgres_admin, keys.redis))


def test_sockets_have_short_paths_however_long_the_clones_path_is(tmp_path: Path) -> None:
    layout = Layout(tmp_path / ("long" * 40) / "var")
    assert len(str(layout.run / "pg" / ".s.PGSQL.5432.lock")) < SOCKET_PATH_MAX


def test_two_clones_have_different_directories_for_sockets(tmp_path: Path) -> None:
    assert Layout(tmp_path / "a").run != Layout(tmp_path / "b").run


@pytest.mark.skipif(not is_root(), reason="only root can make a directory that belongs to somebody else")
def test_a_socket_directory_of_somebody_else_is_refused(layout: Layout) -> None:
    os.chown(layout.run, 12345, 12345)
    try:
        with pytest.raises(EmbeddedError, match="belongs to another user"):
            layout.create()
    finally:
        os.chown(layout.run, 0, 0)


def test_a_private_file_is_private_from_the_first_moment_even_where_a_public_one_was(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("old")
    path.chmod(0o644)
    write_private(path=path, content="new")
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_fast_step_is_named_and_says_no_more() -> None:
    out = io.StringIO()
    with terminal.Terminal(out=out).step("PostgreSQL"):
        pass
    assert out.getvalue() == "  PostgreSQL\n"


def test_a_slow_step_says_that_it_still_runs_what_it_is_at_and_how_long_it_took(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "PATIENCE", 0.05)
    monkeypatch.setattr(terminal, "REPEAT", 0.05)
    out = io.StringIO()
    with terminal.Terminal(out=out).step("Node image") as step:
        step.detail("building it")
        time.sleep(0.3)
    lines = out.getvalue().splitlines()
    assert lines[0] == "  Node image"
    assert lines[1].endswith("s: building it")
    assert lines[-1].startswith("    done after")


def test_a_step_that_fails_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "PATIENCE", 0.01)
    out = io.StringIO()
    with pytest.raises(EmbeddedError), terminal.Terminal(out=out).step("Incus"):
        time.sleep(0.05)
        raise EmbeddedError("no")
    assert "failed after" in out.getvalue()


def test_a_program_that_fails_is_told_with_its_last_lines(tmp_path: Path) -> None:
    with pytest.raises(process.ProcessFailed, match=r"(?s)Making tea failed with status 3.*no kettle"):
        process.run(argv=["sh", "-c", "echo no kettle >&2; exit 3"], log=tmp_path / "log", env=ENV, what="Making tea")


def test_a_child_ends_with_the_process_that_started_it_even_when_that_is_killed(tmp_path: Path) -> None:
    code = (
        "import os, signal, pathlib\n"
        "from carina_portal.embedded.process import Child\n"
        f"child = Child(name='x', argv=['sleep', '60'], env={ENV!r}, log=pathlib.Path({str(tmp_path / 'log')!r}))\n"
        "child.start()\n"
        "print(child.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert killed.returncode == -9, killed.stderr
    _wait_until_gone(int(killed.stdout))


def test_stopping_a_child_ends_what_it_started_in_turn(tmp_path: Path) -> None:
    child = process.Child(name="x", argv=["sh", "-c", "sleep 61 & echo $!; wait"], env=ENV, log=tmp_path / "log")
    child.start()
    while not (tmp_path / "log").read_text().strip():
        time.sleep(0.01)
    grandchild = int((tmp_path / "log").read_text())
    child.stop()
    assert not child.alive
    _wait_until_gone(grandchild)


def test_a_child_that_dies_young_is_started_again_later_each_time(tmp_path: Path) -> None:
    child = process.Child(name="worker", argv=["false"], env=ENV, log=tmp_path / "log")
    child.start()
    delays = []
    for _ in range(3):
        _wait_until_dead(child)
        now = time.monotonic()
        assert "worker ended with status 1" in child.tend(now=now)
        delay = next(seconds for seconds in range(100) if child.tend(now=now + seconds))
        delays.append(delay)
    child.stop()
    assert delays == [1, 2, 4]


def test_a_child_that_was_killed_on_purpose_stays_dead(tmp_path: Path) -> None:
    child = process.Child(name="worker", argv=["sleep", "60"], env=ENV, log=tmp_path / "log")
    child.start()
    child.kill()
    assert child.tend(now=time.monotonic() + 100) == ""
    assert not child.alive


def test_the_image_has_another_name_when_its_recipe_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "RECIPE", tmp_path)
    (tmp_path / "build").write_text("one")
    names = {image.recipe_hash()}
    (tmp_path / "build").write_text("two")
    names.add(image.recipe_hash())
    (tmp_path / "build").chmod(0o755)
    names.add(image.recipe_hash())
    assert len(names) == 3


def test_of_two_clones_that_need_the_image_one_waits_and_says_so(tmp_path: Path) -> None:
    entered = []
    step = terminal.Terminal(quiet=True).step("Node image")

    def second() -> None:
        with image._locked(tmp_path / "lock", step=step):
            entered.append("second")

    waiting = threading.Thread(target=second)
    with image._locked(tmp_path / "lock", step=terminal.Terminal(quiet=True).step("Node image")):
        waiting.start()
        deadline = time.monotonic() + 10
        while "another clone" not in step._detail:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        entered.append("first")
    waiting.join(10)
    assert entered == ["first", "second"]


def test_kernel_limits_are_raised_and_never_lowered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "low").write_text("10\n")
    (tmp_path / "high").write_text("5000\n")
    monkeypatch.setattr(machine, "KERNEL_MODULES", ())
    monkeypatch.setattr(machine, "KERNEL_LIMITS", {str(tmp_path / "low"): 100, str(tmp_path / "high"): 100, str(tmp_path / "absent"): 100})
    machine.prepare_kernel()
    assert (tmp_path / "low").read_text() == "100"
    assert (tmp_path / "high").read_text() == "5000\n"
    assert not (tmp_path / "absent").exists()


def test_what_was_done_is_done_again_when_what_it_was_done_from_changed(layout: Layout) -> None:
    portal.Stamps(layout=layout).set("schema", "a")
    assert portal.Stamps(layout=layout).fits("schema", "a")
    assert not portal.Stamps(layout=layout).fits("schema", "b")
    assert not portal.Stamps(layout=layout).fits("static", "a")


def test_a_stack_within_another_ones_environment_has_its_own_address(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARINA_EMBEDDED", "1")
    monkeypatch.setenv("CARINA_BASE_URL", "http://127.0.0.1:1")
    keys = ensure_keys(layout=layout)
    env = portal.environment(layout=layout, keys=keys, database_url="d", redis_url="r", listen="127.0.0.1", port=2)
    assert env["CARINA_BASE_URL"] == "http://127.0.0.1:2"
    monkeypatch.delenv("CARINA_EMBEDDED")
    env = portal.environment(layout=layout, keys=keys, database_url="d", redis_url="r", listen="127.0.0.1", port=2)
    assert env["CARINA_BASE_URL"] == "http://127.0.0.1:1"


@pytest.mark.parametrize("port", ["http", "0", "65536", "-1", "٣"])
def test_a_port_that_is_none_is_answered_with_a_sentence(port: str, tmp_path: Path) -> None:
    env = {**os.environ, "PORT": port, "CARINA_VAR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "carina_portal.embedded", "run"], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "write a number from 1 to 65535" in done.stderr
    assert not list(tmp_path.iterdir())


def _wait_until_dead(child: process.Child) -> None:
    deadline = time.monotonic() + 10
    while child.alive:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 10
    while _runs(pid):
        assert time.monotonic() < deadline, f"process {pid} still runs"
        time.sleep(0.02)


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
