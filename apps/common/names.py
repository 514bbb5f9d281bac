"""What a name may be: an RFC 1123 label, since names become host names, file names and arguments of a shell."""

import re

from apps.common.errors import InvalidInput

MAX_LENGTH = 40
RESERVED = frozenset(
    {"new", "estimate", "api", "admin", "all", "none", "default", "carina", "localhost", "self", "con", "nul", "aux", "prn"}
)
PATTERN = re.compile(r"[a-z](?:[a-z0-9-]*[a-z0-9])?")


def check_name(*, name: str, field: str = "name") -> str:
    """Return `name` if it is a lower-case RFC 1123 label of at most 40 characters that starts with a letter.

    Raises InvalidInput with the rule that was broken.
    """
    if not name:
        raise InvalidInput.field(
            field, "A name is needed: lower-case letters, digits and hyphens, starting with a letter.", code="name_empty"
        )
    if len(name) > MAX_LENGTH:
        raise InvalidInput.field(field, f"The name has {len(name)} characters; at most {MAX_LENGTH} are allowed.", code="name_too_long")
    if not PATTERN.fullmatch(name):
        raise InvalidInput.field(
            field,
            "A name may have only the lower-case letters a-z, digits and hyphens, must start with a letter and end with a letter or digit.",
            code="name_characters",
        )
    if name in RESERVED:
        raise InvalidInput.field(field, f"The name “{name}” is reserved; choose another.", code="name_reserved")
    return name
