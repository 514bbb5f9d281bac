"""What a host gets at its first boot on clouds that run cloud-init: `#cloud-config` text, made without looking at anything.

The node image of `deploy/node-image/openstack` reads it once, keeps no copy, and closes the way to it before Docker starts. So a host's
key may be in it; join tokens and keys of other hosts may not.
"""

import base64
import json
import re
from collections.abc import Sequence

from apps.hosts.contracts import CloudRefused, HostFile

ENCODED_MAX_BYTES = 65535
"""What Nova takes as `user_data`, counted after base64 (`POST /servers` in the Compute API); other clouds take no less."""

HOSTNAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
PATH = re.compile(r"/[\x20-\x7e]*[\x20-\x2e\x30-\x7e]")
MODE = re.compile(r"0[0-7]{3}", re.ASCII)


def render(*, hostname: str, files: Sequence[HostFile], commands: Sequence[Sequence[str]] = ()) -> str:
    """Return the user-data of one host: its name, its files with their modes, owned by root, and commands to run once afterwards.

    A command is a list of words that no shell sees; one that fails is tried again, with everything else, until it succeeds. `/etc/hostname`
    is added where `files` has none; of two files with one path the later one counts. Resolvers come from the network's DHCP.

    The text is JSON behind cloud-init's mark, in ASCII, which is YAML as well (YAML 1.2.2, section 1.2), and nothing in a name or a path
    can break out of it. Beyond ASCII the two differ, so paths and commands are ASCII; contents are any bytes.
    Raises ValueError for a name, path, mode or command that cannot be, CloudRefused when it is more than Nova takes.
    """
    if not HOSTNAME.fullmatch(hostname):
        raise ValueError(f"{hostname!r} is no host name: use lower-case letters, digits and hyphens, at most 63.")
    if not all(word.isascii() for command in commands for word in command):
        raise ValueError(f"Commands for {hostname} have characters beyond ASCII: put such text into a file.")
    by_path = {"/etc/hostname": HostFile(path="/etc/hostname", content=f"{hostname}\n".encode())}
    by_path |= {file.path: file for file in files}
    body = {
        "hostname": hostname,
        "preserve_hostname": False,
        "manage_etc_hosts": False,
        "write_files": [_entry(file) for file in by_path.values()],
        "runcmd": [list(command) for command in commands],
    }
    if not commands:
        del body["runcmd"]
    text = f"#cloud-config\n{json.dumps(body, indent=1)}\n"
    size = len(encode(text))
    if size > ENCODED_MAX_BYTES:
        largest = max(by_path.values(), key=lambda file: len(file.content))
        raise CloudRefused(
            f"The files for {hostname} make {size} bytes of user-data, and a cloud takes at most {ENCODED_MAX_BYTES}. "
            f"The largest is {largest.path} with {len(largest.content)} bytes: send less, or let the host fetch it."
        )
    return text


def encode(text: str) -> str:
    """Return user-data as Nova's API wants it: base64."""
    return base64.b64encode(text.encode()).decode()


def _entry(file: HostFile) -> dict[str, str]:
    if not PATH.fullmatch(file.path) or ".." in file.path.split("/"):
        raise ValueError(f"{file.path!r} is no absolute path of a file in printable ASCII.")
    if not MODE.fullmatch(file.mode):
        raise ValueError(f"{file.path} has the mode {file.mode!r}: write four octal digits such as 0600.")
    return {
        "path": file.path,
        "owner": "root:root",
        "permissions": file.mode,
        "encoding": "b64",
        "content": base64.b64encode(file.content).decode(),
    }
