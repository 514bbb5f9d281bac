"""Tags of bays: keys and values people choose, to tell bays and their cost apart; as an object in JSON, as text in a form.

The text is `team=web, env=prod`: a comma or the end of a line ends a tag, a backslash before a comma or a backslash lets it be itself.
"""

import re
from collections.abc import Mapping

from apps.common.errors import InvalidInput

MOST = 20
KEY = re.compile(r"[A-Za-z0-9\-_.:/]{1,63}")
LONGEST_VALUE = 128
PIECE = re.compile(r"(?:\\[\\,]|[^,\r\n])+")
ESCAPED, ESCAPABLE = re.compile(r"\\([\\,])"), re.compile(r"([\\,])")


def parse_tags(value: object) -> dict[str, str]:
    """Return the tags of a JSON object, by key. Raises InvalidInput for what is none, and says which rule it breaks."""
    if not isinstance(value, Mapping) or not all(isinstance(part, str) for pair in value.items() for part in pair):
        raise _refused('The tags must be an object of texts, such as {"team": "web"}.', code="type")
    if len(value) > MOST:
        raise _refused(f"A bay has at most {MOST} tags; {len(value)} are too many.", code="tags_too_many")
    for key, text in value.items():
        if not KEY.fullmatch(key):
            raise _refused(
                f"The tag “{key[:40]}” is not possible: a key has 1 to 63 letters a-z, digits and - _ . : / only.", code="tag_key"
            )
        if len(text) > LONGEST_VALUE or not text.isprintable() or text != text.strip():
            raise _refused(
                f"The value of the tag “{key}” is not possible: it has at most {LONGEST_VALUE} characters that can be printed, "
                "and no space at either end.",
                code="tag_value",
            )
    return dict(sorted(value.items()))


def tags_of_text(*, text: str) -> dict[str, str]:
    """Return the tags a person typed, unchecked but for keys that come twice, which raise InvalidInput."""
    found: dict[str, str] = {}
    for piece in PIECE.findall(text):
        key, _, value = (ESCAPED.sub(r"\1", part).strip() for part in piece.partition("="))
        if key in found:
            raise _refused(f"The tag “{key[:40]}” is there twice; each key has one value.", code="tag_key")
        if key or value:
            found[key] = value
    return found


def text_of_tags(*, tags: Mapping[str, str]) -> str:
    """Return the tags as a person would type them."""
    escaped = {key: ESCAPABLE.sub(r"\\\1", value) for key, value in sorted(tags.items())}
    return ", ".join(f"{key}={value}" for key, value in escaped.items())


def _refused(sentence: str, *, code: str) -> InvalidInput:
    return InvalidInput.field("tags", sentence, code=code)
