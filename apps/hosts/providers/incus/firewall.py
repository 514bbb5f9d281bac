"""A bay's passage through the machine's own firewall.

Docker (and ufw) set the policy of iptables' FORWARD chain to DROP, which Incus' own nft rules cannot override: hosts of a bay then
reach neither each other nor the internet. The accept rules put here end only iptables' own judgement; Incus' ACL still has its say.
"""

import os
import shlex
import shutil
import subprocess

import structlog

from apps.hosts.contracts import CloudRefused, Owner

log = structlog.get_logger(__name__)

TIMEOUT_SECONDS = 10
USER_CHAIN = "DOCKER-USER"


def ensure_passage(*, owner: Owner, bridge: str) -> None:
    """Accept what the bay's bridge forwards, where the machine would drop it. One look (5 ms) where nothing is to be done.

    The chain Docker keeps for the administrator is preferred: Docker inserts its own rules before whatever stands in FORWARD.
    Raises CloudRefused when a rule is needed and cannot be added.
    """
    lines = _rules()
    if "-P FORWARD DROP" not in lines:
        return
    chain = USER_CHAIN if f"-A FORWARD -j {USER_CHAIN}" in lines else "FORWARD"
    ours = [line for line in lines if _comment(owner) in line.split() and line.startswith(f"-A {chain} ")]
    wanted = (["-i", bridge], ["-o", bridge, "-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED"])
    for match in wanted:
        if not any(f" {match[0]} {bridge} " in line for line in ours):
            _iptables("-I", chain, *match, "-m", "comment", "--comment", _comment(owner), "-j", "ACCEPT")


def remove_passage(*, owner: Owner) -> None:
    """Take away every rule of the bay, wherever it is."""
    for line in passage_rules(owner=owner):
        _iptables("-D", *shlex.split(line)[1:])


def passage_rules(*, owner: Owner) -> list[str]:
    """The machine's rules that carry the bay's comment, as iptables prints them."""
    return [line for line in _rules() if line.startswith("-A ") and _comment(owner) in shlex.split(line)]


def _comment(owner: Owner) -> str:
    return f"carina:{owner.installation}:{owner.bay}"


def _rules() -> list[str]:
    # Without the program there is no Docker either; without root nothing can be read, and the machine is not ours to repair.
    if os.geteuid() != 0 or not _program():
        return []
    try:
        return _iptables("-S")
    except CloudRefused as error:
        log.warning("firewall.unreadable", error=str(error))
        return []


def _iptables(*arguments: str) -> list[str]:
    try:
        done = subprocess.run(
            [_program(), "-w", "5", *arguments], capture_output=True, text=True, check=True, timeout=TIMEOUT_SECONDS, env={"LC_ALL": "C"}
        )
    except (OSError, subprocess.SubprocessError) as error:
        said = str(getattr(error, "stderr", "") or error).strip()
        raise CloudRefused(f"Bays are cut off by the machine's firewall: `iptables {shlex.join(arguments)}` failed: {said}") from error
    return done.stdout.splitlines()


def _program() -> str:
    return shutil.which("iptables", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin") or ""
