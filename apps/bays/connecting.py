"""The lines that point a native client at a bay, ready to paste, for each family of shells."""

import json
from dataclasses import dataclass

from apps.bays.models import Bay


@dataclass(frozen=True, kw_only=True)
class ShellLines:
    """What to paste into one kind of shell, in the folder that holds the downloaded zip."""

    key: str
    title: str
    lines: str


def shell_lines(*, bay: Bay) -> list[ShellLines]:
    """Return the lines for every shell, the commonest first. Names of bays are safe to write unquoted (`common.names`)."""
    writers = {"swarm": _docker}
    return writers[bay.coe](bay)


def _docker(bay: Bay) -> list[ShellLines]:
    name = bay.name
    context = f"host={bay.endpoint},ca={name}/ca.pem,cert={name}/cert.pem,key={name}/key.pem"
    return [
        ShellLines(key="bash", title="bash / zsh", lines=f"unzip -oq {name}.zip\n. {name}/docker.env\ndocker info"),
        ShellLines(key="fish", title="fish", lines=f"unzip -oq {name}.zip\nsource {name}/docker.fish\ndocker info"),
        ShellLines(key="powershell", title="PowerShell", lines=f"Expand-Archive -Force {name}.zip .\n. .\\{name}\\docker.ps1\ndocker info"),
        ShellLines(key="cmd", title="cmd", lines=f"tar -xf {name}.zip\ncall {name}\\docker.cmd\ndocker info"),
        ShellLines(
            key="context",
            title="docker context",
            lines=f'unzip -oq {name}.zip\ndocker context create {name} --docker "{context}"\ndocker --context {name} info',
        ),
    ]


def curl(*, method: str, url: str, body: object = None, output: str = "") -> str:
    """Return the curl command that does a thing over REST. The token stays a variable, so that it lands in no shell history."""
    parts = ["curl -fsS" if method == "GET" else f"curl -fsS -X {method}", '-H "Authorization: Bearer $CARINA_TOKEN"']
    if body is not None:
        parts += ['-H "Content-Type: application/json"', f"-d '{json.dumps(body)}'"]
    if output:
        parts.append(f"-o {output}")
    return " \\\n  ".join([*parts, url])
