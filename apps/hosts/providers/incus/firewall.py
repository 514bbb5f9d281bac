"""What a bay's network needs of the machine's own firewall, where the machine is this one and we are root: a guard and a passage.

The guard (nft) refuses whatever a bay's hosts send to the machine itself. Incus' ACL already does, but leaves the ports of DNS and
DHCP open on all addresses, and knows only the machine's addresses of the moment.

The passage (iptables): Docker and ufw set the policy of the FORWARD chain to DROP, which nft rules of others cannot override; hosts
of a bay then reach neither each other nor the internet. An accept there ends only iptables' own judgement; Incus' ACL still has its say.
"""

import os
import shlex
import shutil
import subprocess

import structlog

from apps.hosts.contracts import CloudRefused, Owner
from apps.hosts.providers.incus.naming import bridge_name

log = structlog.get_logger(__name__)

TIMEOUT_SECONDS = 10
USER_CHAIN = "DOCKER-USER"


def ensure_guard(*, owner: Owner, gateway: str, own_resolver: bool) -> None:
    """Refuse what the bay's hosts send to the machine, but answers and, with `own_resolver`, questions to the resolver on the gateway.

    Raises CloudRefused when nft is there and refuses the rules.
    """
    if not _may_use("nft"):
        return
    bridge, table = bridge_name(owner), _table(owner)
    resolver = f'iifname "{bridge}" ip daddr {gateway} meta l4proto {{ tcp, udp }} th dport 53 accept'
    rules = [
        f'iifname "{bridge}" ct state established,related accept',
        *([resolver] if own_resolver else []),
        f'iifname "{bridge}" reject with icmpx type admin-prohibited comment "{_comment(owner)}"',
    ]
    standing = _standing_guard(owner)
    if _comment(owner) in standing and ("th dport 53" in standing) == own_resolver:
        return
    # After Incus' own chains (priority 0): an accept there does not end the hook, a refusal here does.
    body = "\n".join(["type filter hook input priority 10; policy accept;", *rules])
    # "add" first, so that "delete" never fails; all of it is one transaction.
    text = f"add table inet {table}\ndelete table inet {table}\ntable inet {table} {{\nchain input {{\n{body}\n}}\n}}\n"
    _run("nft", "-f", "-", given=text)


def ensure_passage(*, owner: Owner) -> None:
    """Accept what the bay's bridge forwards, where the machine would drop it. One look (5 ms) where nothing is to be done.

    The chain Docker keeps for the administrator is preferred: Docker inserts its own rules before whatever stands in FORWARD.
    Raises CloudRefused when a rule is needed and cannot be added.
    """
    lines, bridge = _rules(), bridge_name(owner)
    if "-P FORWARD DROP" not in lines:
        return
    chain = USER_CHAIN if f"-A FORWARD -j {USER_CHAIN}" in lines else "FORWARD"
    ours = [line for line in lines if line.startswith(f"-A {chain} ") and _comment(owner) in shlex.split(line)]
    wanted = (["-i", bridge], ["-o", bridge, "-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED"])
    for match in wanted:
        if not any(f" {match[0]} {bridge} " in line for line in ours):
            _run("iptables", "-w", "5", "-I", chain, *match, "-m", "comment", "--comment", _comment(owner), "-j", "ACCEPT")


def remove_rules(*, owner: Owner) -> None:
    """Take away the bay's guard and every rule of its passage."""
    for line in _passage(owner):
        _run("iptables", "-w", "5", "-D", *shlex.split(line)[1:])
    if _standing_guard(owner):
        _run("nft", "delete", "table", "inet", _table(owner))


def rules_of(owner: Owner) -> list[str]:
    """What of the bay is in the machine's firewall, in words."""
    guard = [f"nft table {_table(owner)}"] if _standing_guard(owner) else []
    return guard + [f"firewall rule {line}" for line in _passage(owner)]


def _table(owner: Owner) -> str:
    return f"carina_{bridge_name(owner)}"


def _comment(owner: Owner) -> str:
    return f"carina:{owner.installation}:{owner.bay}"


def _standing_guard(owner: Owner) -> str:
    """The bay's table as nft prints it, or nothing."""
    if not _may_use("nft"):
        return ""
    try:
        return _run("nft", "list", "table", "inet", _table(owner))
    except CloudRefused as error:
        if "No such file" not in str(error):
            log.warning("firewall.unreadable", error=str(error))
        return ""


def _passage(owner: Owner) -> list[str]:
    return [line for line in _rules() if line.startswith("-A ") and _comment(owner) in shlex.split(line)]


def _rules() -> list[str]:
    # Without the program there is no Docker either.
    if not _may_use("iptables"):
        return []
    try:
        return _run("iptables", "-w", "5", "-S").splitlines()
    except CloudRefused as error:
        log.warning("firewall.unreadable", error=str(error))
        return []


def _may_use(program: str) -> bool:
    # Without root nothing can be read or written, and the machine is not ours to look after.
    return os.geteuid() == 0 and bool(_path_of(program))


def _path_of(program: str) -> str:
    return shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin") or ""


def _run(program: str, *arguments: str, given: str = "") -> str:
    command = [_path_of(program), *arguments]
    try:
        done = subprocess.run(
            command, input=given, capture_output=True, text=True, check=True, timeout=TIMEOUT_SECONDS, env={"LC_ALL": "C"}
        )
    except (OSError, subprocess.SubprocessError) as error:
        said = str(getattr(error, "stderr", "") or error).strip()
        raise CloudRefused(f"The machine's firewall did not do `{program} {shlex.join(arguments)}`: {said}") from error
    return done.stdout
