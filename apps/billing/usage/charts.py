"""The chart of a month: a bar for each day, stacked by bay. Shapes are drawn by the server as SVG in a square of 100 by 100 that the page
stretches; words stand beside it as text, so that they keep their size on a phone.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction
from uuid import UUID

from django.utils.formats import date_format
from django.utils.translation import gettext as _

from apps.billing.usage.breakdowns import RatedMonth, sums_by
from apps.common.money import apportioned, in_words, smallest

MOST_SERIES = 8
GAP = Fraction(1, 5)
"""How much of a day's width is left empty."""
LABEL_EVERY = 5


@dataclass(frozen=True, kw_only=True)
class Series:
    """The bays of one colour: one bay, or all that have none of their own. `number` names the colour."""

    number: int
    label: str
    detail: str


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A rectangle as a path of SVG, in hundredths of the chart's width and height from its upper left corner."""

    series: int
    path: str


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A day: its amount, what each series cost on it (in their order, which adds up to the amount), and the same in words.

    `parts` are the words of the series that cost something, `whole` is the path of the day's full height.
    """

    day: date
    label: str
    amount: Decimal
    amounts: tuple[Decimal, ...]
    words: str
    parts: tuple[str, ...]
    shapes: tuple[Shape, ...]
    whole: str


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A chart of days; `scale` are the words at its top, its middle and its foot."""

    series: tuple[Series, ...]
    bars: tuple[Bar, ...]
    scale: tuple[str, ...]
    currency: str
    total: Decimal

    @property
    def empty(self) -> bool:
        """Whether nothing was spent on any day."""
        return not self.series


def chart_of(*, month: RatedMonth, days: Sequence[date], names: Mapping[UUID, tuple[str, str]], currency: str) -> Chart:
    """Return the chart of a month's days; `names` are label and detail of each bay with usage. Amounts of days add up to the total."""
    cells: dict[date, dict[UUID, Fraction]] = defaultdict(dict)
    bays: dict[UUID, Fraction] = defaultdict(Fraction)
    for (day, bay_id), sums in sums_by(months=[month], key=lambda day, used: (day, used.bay_id)).items():
        cells[day][bay_id] = sums.exact
        bays[bay_id] += sums.exact
    costly = sorted((bay_id for bay_id in bays if bays[bay_id]), key=lambda bay_id: (-bays[bay_id], names[bay_id]))
    # A ninth bay gets a colour of its own rather than being called “1 other”.
    own = costly if len(costly) <= MOST_SERIES + 1 else costly[:MOST_SERIES]
    series = [Series(number=number, label=names[bay_id][0], detail=names[bay_id][1]) for number, bay_id in enumerate(own, start=1)]
    if len(costly) > len(own):
        others = _("%(count)d other bays") % {"count": len(costly) - len(own)}
        series.append(Series(number=MOST_SERIES + 1, label=others, detail=""))
    place = {bay_id: number for number, bay_id in enumerate(own)}
    stacks = []
    for day in days:
        stack = [Fraction(0)] * len(series)
        for bay_id, exact in cells[day].items():
            if exact:
                stack[place.get(bay_id, len(series) - 1)] += exact
        stacks.append(stack)
    amounts = apportioned(parts=[sum(stack, Fraction(0)) for stack in stacks], currency=currency)
    top = _round_top(max((sum(stack, Fraction(0)) for stack in stacks), default=Fraction(0)), currency)
    bars = [
        _bar(number, day, stack, amount, series=series, top=top, count=len(days), currency=currency)
        for number, (day, stack, amount) in enumerate(zip(days, stacks, amounts, strict=True))
    ]
    scale = tuple(in_words(amount=Decimal(part), currency=currency) for part in (top, top / 2, Decimal(0)))
    total = sum(amounts, Decimal(0))
    return Chart(series=tuple(series), bars=tuple(bars), scale=scale, currency=currency, total=total)


def _bar(
    number: int, day: date, stack: list[Fraction], amount: Decimal, *, series: list[Series], top: Decimal, count: int, currency: str
) -> Bar:
    exact = sum(stack, Fraction(0))
    # What is written below a bar adds up to what is written above it, whatever that was rounded to.
    amounts = (
        apportioned(parts=[part * Fraction(amount) / exact for part in stack], currency=currency) if exact else [Decimal(0)] * len(stack)
    )
    step = Fraction(100, count)
    x, width = step * number + step * GAP / 2, step * (1 - GAP)
    shapes, foot = [], Fraction(100)
    for each, part in zip(series, stack, strict=True):
        height = part * 100 / Fraction(top)
        if height:
            foot -= height
            shapes.append(Shape(series=each.number, path=_rectangle(x, foot, width, height)))
    shown = [f"{each.label} {in_words(amount=part, currency=currency)}" for each, part in zip(series, amounts, strict=True) if part]
    words = f"{date_format(day, 'j F')}: {in_words(amount=amount, currency=currency)}"
    return Bar(
        day=day, label=str(day.day) if day.day == 1 or day.day % LABEL_EVERY == 0 else "", amount=amount, amounts=tuple(amounts),
        words=f"{words} ({', '.join(shown)})" if shown and len(series) > 1 else words, parts=tuple(shown), shapes=tuple(shapes),
        whole=_rectangle(step * number, Fraction(0), step, Fraction(100)),
    )  # fmt: skip


def _round_top(highest: Fraction, currency: str) -> Decimal:
    """Return the amount at the top of the scale: the least of 1, 2, 4, 6, 8 or 10 times a power of ten that is not below the highest bar,
    and whose half is an amount too.
    """
    power = smallest(currency=currency)
    while True:
        for digit in (1, 2, 4, 6, 8):
            top = power * digit
            if top >= highest and (top / 2) % smallest(currency=currency) == 0:
                return top
        power *= 10


def _rectangle(x: Fraction, y: Fraction, width: Fraction, height: Fraction) -> str:
    return f"M{_text(x)} {_text(y)}h{_text(width)}v{_text(height)}h-{_text(width)}z"


def _text(number: Fraction) -> str:
    return f"{float(number):.2f}".rstrip("0").rstrip(".")
