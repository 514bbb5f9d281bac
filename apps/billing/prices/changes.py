"""Changing the price book. A price begins now or later and is never changed once it has begun: the next one follows it.

Operators and the portal itself do this; the database refuses on its own what would price anything anew (docs/prices.md).
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from django.db import IntegrityError, models, transaction

from apps.audit.services import Actor, record
from apps.billing.currencies import check_currency
from apps.billing.models import Price
from apps.billing.operators import require_operator
from apps.billing.prices.book import Tier
from apps.common.clock import now
from apps.common.errors import Conflict, InvalidInput, NotFound
from apps.common.money import in_words
from apps.common.scope import as_system
from apps.hosts.models import Cloud, Flavor

HIGHEST_PRICE = Decimal(10000)
DECIMALS = 8
STEP = Decimal(1).scaleb(-DECIMALS)
MOST_TIERS = 10
MOST_HOURS = 100_000_000
SECOND = timedelta(seconds=1)


def set_price(
    *,
    by: Actor,
    flavor: Flavor,
    per_hour: Decimal | None,
    currency: str,
    cloud: Cloud | None = None,
    starts_at: datetime | None = None,
    tiers: Sequence[Tier] = (),
) -> Price:
    """Let an hour of one host of the flavor cost so much from `starts_at` on (now, in whole seconds, if not said), and return the price.

    Without a cloud it holds wherever no cloud's own price does; None for a cloud ends its own price. A price with the same beginning that
    has not begun is replaced; what would change nothing is not written.

    Raises Forbidden for those who are no operators, InvalidInput for prices, tiers, currencies and moments that cannot be, Conflict where
    a price with that very beginning holds already.
    """
    wanted = proposed_price(by=by, flavor=flavor, per_hour=per_hour, currency=currency, cloud=cloud, starts_at=starts_at, tiers=tiers)
    # as the portal: the database looks for usage of the flavor by anybody
    with as_system("price book"), transaction.atomic():
        # one change of a flavor's prices at a time; FOR NO KEY UPDATE lets bays of it be created meanwhile
        Flavor.objects.select_for_update(no_key=True).get(id=flavor.id)
        series = Price.objects.filter(flavor=flavor, cloud=cloud, currency=currency)
        if starts_at is None and wanted.starts_at <= now() and series.filter(starts_at=wanted.starts_at).exists():
            wanted.starts_at += SECOND  # what has begun this very second stays
        return _write(by=by, series=series, wanted=wanted)


def proposed_price(
    *,
    by: Actor,
    flavor: Flavor,
    per_hour: Decimal | None,
    currency: str,
    cloud: Cloud | None = None,
    starts_at: datetime | None = None,
    tiers: Sequence[Tier] = (),
) -> Price:
    """Return the price that `set_price` would write, checked and not written; raises what it raises, but Conflict."""
    require_operator(by=by)
    check_currency(currency=currency)
    check_price(per_hour=per_hour, tiers=tiers, has_cloud=cloud is not None)
    return Price(
        flavor=flavor, cloud=cloud, currency=currency, per_hour=per_hour, tiers=tiers_as_json(tiers=tiers),
        starts_at=beginning(starts_at=starts_at), created_by=by.label, created_at=now(),
    )  # fmt: skip


def withdraw_price(*, by: Actor, price_id: int) -> None:
    """Take back a price that has not begun.

    Raises Forbidden for those who are no operators, NotFound for unknown prices, Conflict for one that has begun.
    """
    require_operator(by=by)
    with as_system("price book"), transaction.atomic():
        price = Price.objects.select_for_update(of=["self"]).select_related("flavor", "cloud").filter(id=price_id).first()
        if price is None:
            raise NotFound("There is no such price.")
        if price.starts_at <= now():
            raise Conflict("This price has begun and stays. Set another one that begins later.")
        before = _before(Price.objects.filter(flavor=price.flavor, cloud=price.cloud, currency=price.currency), price.starts_at)
        record(
            by=by,
            action="price.withdrawn",
            sentence=f"withdrew the price of {subject(price=price)} from {_moment(price.starts_at)} on, {words(price=price)}; "
            f"{words(price=before, of_cloud=price.cloud is not None)} goes on",
            tenant_id=None,
            target_id=str(price.flavor_id),
            target_label=price.flavor.name,
            data={"price": as_data(price=price)},
        )
        _obeyed(price.delete)


def check_price(*, per_hour: Decimal | None, tiers: Sequence[Tier], has_cloud: bool) -> None:
    """Raise InvalidInput for an amount or tiers that no price can have."""
    if per_hour is None:
        if not has_cloud:
            raise InvalidInput.field("per_hour", "Only a cloud’s own price can be ended; a general price is followed by another.")
        if tiers:
            raise InvalidInput.field("tiers", "Where a cloud’s own price ends there are no tiers.")
        return
    if not _is_amount(per_hour):
        raise InvalidInput.field("per_hour", f"The price must lie between 0 and {HIGHEST_PRICE}, with at most {DECIMALS} decimals.")
    if len(tiers) > MOST_TIERS:
        raise InvalidInput.field("tiers", f"A price has at most {MOST_TIERS} tiers.")
    reached = 0
    for tier in tiers:
        if not reached < tier.from_hours <= MOST_HOURS:
            raise InvalidInput.field(
                "tiers", f"Tiers begin after whole host-hours from 1 to {MOST_HOURS:,}, each later than the one before."
            )
        if not _is_amount(tier.per_hour):
            raise InvalidInput.field(
                "tiers", f"The price of a tier must lie between 0 and {HIGHEST_PRICE}, with at most {DECIMALS} decimals."
            )
        reached = tier.from_hours


def beginning(*, starts_at: datetime | None) -> datetime:
    """Return when a price that shall begin then (or now) begins: at the next whole second. Raises InvalidInput for the past."""
    moment = now()
    if starts_at is not None and starts_at < moment.replace(microsecond=0):
        raise InvalidInput.field("starts_at", "A price never begins in the past: what was used is not priced anew.")
    start = max(starts_at, moment) if starts_at is not None else moment
    return start.replace(microsecond=0) + (SECOND if start.microsecond else timedelta())


def words(*, price: Price | None, of_cloud: bool = False) -> str:
    """Return what a price says, as a part of a sentence; that of a cloud which has none is the general one."""
    if price is None and not of_cloud:
        return "none: it cannot be had"
    if price is None or price.per_hour is None:
        return "the general price"
    text = f"{in_words(amount=price.per_hour, currency=price.currency)} an hour"
    for tier in price.tiers:
        text += f", {in_words(amount=Decimal(tier['per_hour']), currency=price.currency)} beyond {tier['from_hours']:,} host-hours a month"
    return text


def subject(*, price: Price) -> str:
    """Return what a price is of."""
    return f"{price.flavor.name}{f' on {price.cloud.title}' if price.cloud is not None else ''} in {price.currency}"


def as_data(*, price: Price | None) -> dict[str, object] | None:
    """Return a price for the data of an audit row."""
    if price is None:
        return None
    return {
        "per_hour": f"{price.per_hour.normalize():f}" if price.per_hour is not None else None,
        "tiers": price.tiers,
        "currency": price.currency,
        "cloud": price.cloud.name if price.cloud is not None else None,
        "starts_at": price.starts_at.isoformat(),
    }


def tiers_as_json(*, tiers: Sequence[Tier]) -> list[dict[str, object]]:
    """Return tiers as they are stored."""
    return [{"from_hours": tier.from_hours, "per_hour": f"{tier.per_hour.normalize():f}"} for tier in tiers]


def _write(*, by: Actor, series: models.QuerySet[Price], wanted: Price) -> Price:
    replaced = series.filter(starts_at=wanted.starts_at).select_related("flavor", "cloud").first()
    before = _before(series, wanted.starts_at)
    last = replaced or before
    if last is not None and (last.per_hour, last.tiers) == (wanted.per_hour, wanted.tiers):
        return last
    if replaced is not None and replaced.starts_at <= now():
        raise Conflict("A price with this beginning holds already and stays. Let the new one begin later.")
    if wanted.per_hour is None and last is None:
        raise Conflict(f"{wanted.flavor.name} has no price of its own there that could end.")
    if replaced is not None:
        wanted.id = replaced.id
    _obeyed(wanted.save)
    record(
        by=by,
        action="price.set",
        sentence=f"set the price of {subject(price=wanted)} from {_moment(wanted.starts_at)} on to {words(price=wanted)}, "
        f"{'in place of' if replaced is not None else 'until then'} {words(price=last, of_cloud=wanted.cloud is not None)}",
        tenant_id=None,
        target_id=str(wanted.flavor_id),
        target_label=wanted.flavor.name,
        data={"from": as_data(price=last), "to": as_data(price=wanted)},
    )
    return wanted


def _before(series: models.QuerySet[Price], starts_at: datetime) -> Price | None:
    return series.filter(starts_at__lt=starts_at).select_related("flavor", "cloud").order_by("-starts_at").first()


def _obeyed(write: Callable[[], object]) -> None:
    """Let the database, whose clock decides, have the last word on what has begun."""
    try:
        write()
    except IntegrityError as error:
        raise Conflict("This price has begun meanwhile, or would begin in the past. Set one that begins later.") from error


def _is_amount(amount: Decimal) -> bool:
    return amount.is_finite() and 0 <= amount <= HIGHEST_PRICE and amount == amount.quantize(STEP)


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
