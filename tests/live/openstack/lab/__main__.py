"""Run the lab by hand until Ctrl-C: `python -m tests.live.openstack.lab [--wipe]`."""

import argparse
import contextlib
import signal
import sys
import time

from carina_portal.embedded.layout import EmbeddedError
from carina_portal.embedded.terminal import Terminal
from tests.live.openstack.lab.lab import Lab


def main() -> int:
    """Start, say how to use it, and stop on Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m tests.live.openstack.lab", description=__doc__)
    parser.add_argument("--wipe", action="store_true", help="forget an earlier lab's state first")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    terminal, started = Terminal(), time.monotonic()
    lab = Lab(terminal=terminal)
    try:
        if options.wipe:
            lab.wipe()
        with lab, contextlib.suppress(KeyboardInterrupt):
            terminal.say(f"Ready after {time.monotonic() - started:.1f} s. Ctrl-C stops it; to use it:")
            terminal.say(f"  export OS_CLIENT_CONFIG_FILE={lab.clouds_yaml} OS_CLOUD=admin")
            signal.pause()
    except EmbeddedError as error:
        terminal.say(f"\n{error}")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
