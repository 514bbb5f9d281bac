"""The lab of this test session: started by the first test that wants it, stopped with the session. For tests in every directory."""

import atexit
import os
import sys

import pytest

from carina_portal.embedded.layout import EmbeddedError
from carina_portal.embedded.terminal import Terminal
from tests.live.openstack.lab import Lab, packages

_running: list[Lab] = []
_broken: list[str] = []


def the_lab() -> Lab:
    """Return the lab, running and healthy; skips the test, saying why, on a machine that cannot have one."""
    if _running:
        return _running[0]
    reason = packages.why_impossible(real=False)
    if reason:
        pytest.skip(f"no OpenStack of the tests' own: {reason}")
    if _broken:
        pytest.fail(f"the tests' OpenStack did not start: {_broken[0]}")
    lab = Lab(terminal=Terminal(out=sys.__stderr__))
    try:
        if os.environ.get("CARINA_TEST_OPENSTACK_ATTACH"):
            lab.attach()  # one that runs already, for somebody who runs tests again and again
        else:
            lab.wipe()  # what an interrupted session left would count as ours
            lab.start()
    except EmbeddedError as error:
        _broken.append(str(error))
        pytest.fail(f"the tests' OpenStack did not start: {error}")
    _running.append(lab)
    atexit.register(stop)
    return lab


def stop() -> None:
    """Stop the lab, if it runs."""
    while _running:
        _running.pop().stop()


def running() -> Lab | None:
    """Return the lab if a test has started it."""
    return _running[0] if _running else None
