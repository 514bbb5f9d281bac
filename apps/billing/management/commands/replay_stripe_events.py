from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.billing.models import StripeEvent
from apps.billing.payments.stripe_events import handle, handle_waiting
from apps.common.clock import now


class Command(BaseCommand):
    help = "Act again on events of Stripe that were kept and not handled; with --id on these, handled or not, which is harmless."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--id", action="append", default=[], help="the id of an event (evt_…); may be given several times")

    def handle(self, *args: Any, **options: Any) -> None:
        unknown = [name for name in options["id"] if not StripeEvent.objects.filter(id=name).exists()]
        if unknown:
            raise CommandError(f"There is no event {', '.join(unknown)} here.")
        rows = [handle(event_id=name, again=True) for name in options["id"]] or (
            [] if options["id"] else handle_waiting(at=now(), however_old=True)
        )
        for row in rows:
            self.stdout.write(f"{row.id} {row.kind}: {_outcome(row)}")
        self.stdout.write(f"{sum(row.handled_at is not None for row in rows)} of {len(rows)} handled.")


def _outcome(row: StripeEvent) -> str:
    return " ".join(part for part in ("handled." if row.handled_at else "not handled.", row.problem) if part)
