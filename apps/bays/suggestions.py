"""Names for bays that people can say aloud: a word of weather or motion, and a star sailors steer by."""

import random
from collections.abc import Collection

WORDS = (
    "amber", "bold", "brave", "bright", "brisk", "calm", "clear", "coral", "crisp", "deep",
    "early", "fair", "fleet", "gentle", "golden", "keen", "lively", "lucky", "merry", "mild",
    "nimble", "northern", "quick", "quiet", "rapid", "silver", "southern", "steady", "swift", "warm",
)  # fmt: skip
STARS = (
    "achernar", "acrux", "alcor", "aldebaran", "alkaid", "alphard", "altair", "antares", "arcturus", "argo",
    "atlas", "avior", "bellatrix", "canopus", "capella", "castor", "deneb", "elnath", "hadar", "hamal",
    "maia", "markab", "menkar", "miaplacidus", "mira", "mizar", "nunki", "polaris", "pollux", "procyon",
    "regulus", "rigel", "sabik", "schedar", "sirius", "spica", "tureis", "vega", "vela",
)  # fmt: skip


def suggest_name(*, taken: Collection[str]) -> str:
    """Return a pretty name that is not in `taken`; with a number at its end if most are."""
    for _ in range(50):
        name = f"{random.choice(WORDS)}-{random.choice(STARS)}"  # noqa: S311 - nothing secret about it
        if name not in taken:
            return name
    return f"{random.choice(WORDS)}-{random.choice(STARS)}-{random.randrange(100, 1000)}"  # noqa: S311
