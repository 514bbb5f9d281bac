"""Run the lab by hand until Ctrl-C, or only install what it needs: `python -m tests.live.openstack.lab [--wipe | --install]`."""

import argparse
import contextlib
import signal
import sys
import time

from carina_portal.embedded.layout import EmbeddedError
from carina_portal.embedded.terminal import Terminal
from tests.live.openstack.lab import packages
from tests.live.openstack.lab.lab import Lab
from tests.live.openstack.lab.place import default_state


def main() -> int:
    """Start, say how to use it, and stop on Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m tests.live.openstack.lab", description=__doc__)
    parser.add_argument("--wipe", action="store_true", help="forget an earlier lab's state first")
    parser.add_argument("--real", action="store_true", help="also hypervisors that boot instances")
    parser.add_argument("--install", action="store_true", help="install the distribution's packages and do no more")
    options = parser.parse_args()
    if options.install:
        return install(Terminal())
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    terminal, started = Terminal(), time.monotonic()
    lab = Lab(terminal=terminal)
    try:
        if options.wipe:
            lab.wipe()
        with lab, contextlib.suppress(KeyboardInterrupt):
            if options.real:
                lab.start_real()
            terminal.say(f"Ready after {time.monotonic() - started:.1f} s. Ctrl-C stops it; to use it:")
            terminal.say(f"  export OS_CLIENT_CONFIG_FILE={lab.clouds_yaml} OS_CLOUD=admin")
            signal.pause()
    except EmbeddedError as error:
        terminal.say(f"\n{error}")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def install(terminal: Terminal) -> int:
    """Install what is missing as far as that is possible here, and name what is not: tests that need it are skipped by name."""
    for real, what in ((False, "an OpenStack for tests"), (True, "its real instances")):
        reason = packages.why_impossible(real=real)
        if reason:
            terminal.say(f"  No {what}: {reason}. The tests that need it are skipped and say so.")
            return 0
        if packages.missing(real=real):
            log = default_state().with_name("openstack-apt.log")
            log.parent.mkdir(parents=True, exist_ok=True)
            try:
                with terminal.step(f"Installing {what}") as step:
                    packages.install(real=real, log=log, step=step)
            except EmbeddedError as error:
                terminal.say(f"    {error}")
                return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
