from typing import Any

from django.core.management.base import BaseCommand
from django.db.models import Count

from apps.common.clock import now
from apps.tenants.models import ApiToken
from apps.tenants.token_text import FORMER, known_peppers


class Command(BaseCommand):
    help = (
        "Count the live tokens by the pepper their hash is keyed with. A token moves to the first pepper of CARINA_TOKEN_PEPPERS when it "
        "is used; a pepper without tokens can be taken out of the setting, one that still has some would lock them out."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        live = ApiToken.objects.filter(revoked_at=None, expires_at__gt=now())
        counts = dict(live.order_by().values_list("pepper").annotate(count=Count("id")))
        known = known_peppers()
        for place, pepper in enumerate(known):
            self._line(pepper, counts.get(pepper, 0), "first: for new tokens" if place == 0 else "accepted")
        for pepper in sorted(set(counts) - set(known)):
            self._line(pepper, counts[pepper], "MISSING from CARINA_TOKEN_PEPPERS: these tokens are refused")

    def _line(self, pepper: str, count: int, note: str) -> None:
        name = "(CARINA_SECRET_KEY, former)" if pepper == FORMER else pepper
        self.stdout.write(f"{name:<28} {count:>8} {'token ' if count == 1 else 'tokens'}  {note}")
