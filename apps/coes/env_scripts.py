"""Scripts that point a shell at a bay, for every family of shells, from whatever directory they are sourced.

Each finds the folder it lies in by itself, since the certificates lie beside it. Shells differ in whether they tell: bash, zsh, fish,
PowerShell and cmd do; dash and busybox ash do not, but keep the script open while they read it, which /proc shows.
Where nothing tells, the current directory is taken if the certificates are in it, and otherwise one sentence says what to do.
"""

import re
from dataclasses import dataclass

_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/\[\]-]*")
"""Signs that mean themselves between single quotes in every shell, and in cmd's `set "A=B"`."""


@dataclass(frozen=True, kw_only=True)
class Variables:
    """What the scripts set: `prefix` names the files (`docker.env` …). Raises ValueError for text that could mean something to a shell."""

    prefix: str
    endpoint: str
    version: str
    bay: str

    def __post_init__(self) -> None:
        for value in (self.prefix, self.endpoint, self.version, self.bay):
            if not _SAFE.fullmatch(value):
                raise ValueError(f"{value!r} cannot stand in a shell script.")


def scripts(variables: Variables) -> dict[str, str]:
    """Return the text of `<prefix>.env`, `.fish`, `.ps1` and `.cmd` by file name."""
    values = {
        "DOCKER_HOST": variables.endpoint,
        "DOCKER_TLS_VERIFY": "1",
        "DOCKER_VERSION": variables.version,
        "CARINA_BAY": variables.bay,
    }
    return {
        f"{variables.prefix}.env": _posix(variables=variables, values=values),
        f"{variables.prefix}.fish": _fish(variables=variables, values=values),
        f"{variables.prefix}.ps1": _powershell(variables=variables, values=values),
        f"{variables.prefix}.cmd": _cmd(variables=variables, values=values),
    }


def _posix(*, variables: Variables, values: dict[str, str]) -> str:
    exports = "\n".join(f"  export {name}='{value}'" for name, value in values.items())
    return f"""\
# Points docker at the bay {variables.bay}. Use it with:  . ./{variables.prefix}.env   (bash, zsh, dash, busybox ash)
_carina_dir=
if [ -n "${{BASH_VERSION-}}" ]; then
  _carina_dir=$(command cd -- "$(dirname -- "$BASH_SOURCE")" >/dev/null 2>&1 && pwd -P)
elif [ -n "${{ZSH_VERSION-}}" ]; then
  eval '_carina_dir=${{${{(%):-%x}}:A:h}}'
else
  # These shells do not tell where a sourced file lies, but hold it open while they read it.
  _carina_pid=
  {{ read -r _carina_pid _carina_rest </proc/self/stat; }} 2>/dev/null || :
  for _carina_fd in /proc/"$_carina_pid"/fd/*; do
    _carina_file=$(readlink "$_carina_fd" 2>/dev/null) || continue
    case $_carina_file in
      */{variables.prefix}.env) [ ! -f "${{_carina_file%/*}}/ca.pem" ] || _carina_dir=${{_carina_file%/*}} ;;
    esac
  done
fi
[ -n "$_carina_dir" ] && [ -f "$_carina_dir/ca.pem" ] || _carina_dir=$(pwd -P)
if [ -f "$_carina_dir/ca.pem" ] && [ -f "$_carina_dir/{variables.prefix}.env" ]; then
  export DOCKER_CERT_PATH="$_carina_dir"
{exports}
  unset _carina_dir _carina_pid _carina_rest _carina_fd _carina_file
else
  unset _carina_dir _carina_pid _carina_rest _carina_fd _carina_file
  echo "{variables.prefix}.env: this shell does not tell where the file lies; change into its folder and source it there." >&2
  false
fi
"""


def _fish(*, variables: Variables, values: dict[str, str]) -> str:
    exports = "\n".join(f"set -gx {name} '{value}'" for name, value in values.items())
    return f"""\
# Points docker at the bay {variables.bay}. Use it with:  source {variables.prefix}.fish
set -gx DOCKER_CERT_PATH (dirname (realpath (status --current-filename)))
{exports}
"""


def _powershell(*, variables: Variables, values: dict[str, str]) -> str:
    exports = "\n".join(f"$env:{name} = '{value}'" for name, value in values.items())
    return f"""\
# Points docker at the bay {variables.bay}. Use it with:  . .\\{variables.prefix}.ps1
$env:DOCKER_CERT_PATH = $PSScriptRoot
{exports}
"""


def _cmd(*, variables: Variables, values: dict[str, str]) -> str:
    # %~dp0 ends with a backslash, which docker would take for a part of the name in some versions.
    lines = [
        f"@rem Points docker at the bay {variables.bay}. Use it with:  {variables.prefix}.cmd",
        '@set "DOCKER_CERT_PATH=%~dp0"',
        '@if "%DOCKER_CERT_PATH:~-1%"=="\\" set "DOCKER_CERT_PATH=%DOCKER_CERT_PATH:~0,-1%"',
        *(f'@set "{name}={value}"' for name, value in values.items()),
    ]
    return "\r\n".join([*lines, ""])
