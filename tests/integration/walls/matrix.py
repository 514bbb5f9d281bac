"""The reviewed file of what each address answers to whom, and how to write it anew after a change.

    python -m pytest tests/integration/walls --write-walls

writes what is answered now; the difference is for a person to read, line by line, before it is committed.
"""

from pathlib import Path

from tests.integration.walls.people import OUTSIDERS, ROLES, SCOPES

FILE = Path(__file__).with_name("matrix.txt")
HEAD = """\
# What each address answers to whom, with its own tenant's ids. Reviewed by people: a new address without a line here fails.
# Columns: {columns}; then the scopes with which an owner's token gets past 401 and 403 (pages know no tokens).
# A request has an empty body: 400 and 422 mean "let in, but that is not all you must say".
"""
COLUMNS = (*OUTSIDERS, *ROLES.values())
Cell = dict[str, int]


def line_of(*, method: str, route: str, answers: Cell) -> str:
    """Return one line of the file."""
    numbers = " ".join(str(answers[name]) for name in COLUMNS)
    scopes = [name.removeprefix("scope ") for name in SCOPES if answers.get(name, 403) not in {401, 403}]
    words = "any" if len(scopes) == len(SCOPES) else ",".join(scopes) or "-"
    return f"{method:6} {route:95} {numbers}  {words}"


def read() -> dict[tuple[str, str], str]:
    """Return the file's lines by method and route."""
    lines = [line for line in FILE.read_text().splitlines() if line and not line.startswith("#")]
    return {(line.split()[0], line.split()[1]): " ".join(line.split()) for line in lines}


def write(lines: list[str]) -> None:
    """Write the file."""
    FILE.write_text(HEAD.format(columns=", ".join(COLUMNS)) + "\n".join(lines) + "\n")
