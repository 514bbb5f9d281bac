"""What the lab is at when a test failed: which services are dead, and where Neutron's requests stand.

Neutron answers all of the lab from one process. On SIGUSR2 that writes a report of its green threads (oslo.reports); one line of each is
enough to see what they wait for.
"""

import re
import signal
import time
from collections import Counter
from collections.abc import Mapping

import psutil

from tests.live.openstack.lab.services import Service

SECONDS = 3.0
"""How long Neutron has to write its report."""
FRAME = re.compile(r"^/\S*?([^/\s]+/[^/\s]+\.py:\d+ in \w+)$", re.MULTILINE)
PLUMBING = re.compile(r"^(hubs|greenio|green|eventlet|python3\.\d+)/")
IDLE = re.compile(r"^oslo_service/|in (_heartbeat_thread_job|handle_signal|get_request|read_request)\b|^$")
DEPTH, LINES = 5, 12


def of(services: Mapping[str, Service]) -> str:
    """Return a few lines for the report of a failed test."""
    dead = [name for name, service in services.items() if not service.child.alive]
    lines = [f"dead: {', '.join(dead) or 'nothing'}; load {', '.join(f'{each:.1f}' for each in psutil.getloadavg())}"]
    neutron = services.get("neutron-server")
    if neutron is not None and neutron.child.alive:
        lines += _busy_threads(neutron)
    return "\n".join(lines)


def _busy_threads(neutron: Service) -> list[str]:
    log = neutron.child.log
    written = log.stat().st_size
    for process in psutil.Process(neutron.child.pid).children():
        process.send_signal(signal.SIGUSR2)
    time.sleep(SECONDS)
    with log.open("rb") as file:
        file.seek(written)
        report = file.read().decode(errors="replace")
    threads = [FRAME.findall(thread) for thread in report.split("Green Thread  ")[1:]]
    stacks = [" < ".join([frame for frame in reversed(frames) if not PLUMBING.search(frame)][:DEPTH]) for frames in threads]
    busy = Counter(stack for stack in stacks if not IDLE.search(stack))
    found = [f"Neutron has {len(stacks)} green threads; at work or waiting for something:"]
    return found + [f"{number} x {stack}" for stack, number in busy.most_common(LINES)]
