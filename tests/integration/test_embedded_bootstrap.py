"""`make run` before there is a virtualenv: the machine's own Python, the standard library, and nothing else."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from carina_portal.embedded.layout import ROOT


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone with nothing in it but the script and a list of packages that is empty."""
    place = tmp_path / "carina_portal/embedded"
    place.mkdir(parents=True)
    shutil.copy(ROOT / "carina_portal/embedded/bootstrap.py", place)
    (tmp_path / "requirements.txt").write_text("# nothing\n")
    return tmp_path


def bootstrap(clone: Path) -> "subprocess.CompletedProcess[str]":
    argv = [sys.executable, "-I", "carina_portal/embedded/bootstrap.py", "requirements.txt"]
    return subprocess.run(argv, cwd=clone, capture_output=True, text=True, check=False)


def test_it_makes_a_virtualenv_names_each_step_and_does_nothing_the_second_time(clone: Path) -> None:
    first = bootstrap(clone)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "  Virtualenv\n" in first.stdout
    assert "  Packages of requirements.txt\n" in first.stdout
    assert (clone / ".venv/bin/python").exists()
    second = bootstrap(clone)
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")


def test_a_package_that_cannot_be_installed_is_told_with_pips_own_words_and_tried_again_next_time(clone: Path) -> None:
    (clone / "requirements.txt").write_text("./no-such-package\n")
    for _ in range(2):
        done = bootstrap(clone)
        assert done.returncode == 1
        assert "no-such-package" in done.stderr
        assert "Check that this machine reaches a Python package index" in done.stderr
