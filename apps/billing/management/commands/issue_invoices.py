from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from apps.billing.invoices.closing import run_month
from apps.common.clock import now
from apps.tenants.models import Tenant


class Command(BaseCommand):
    help = "Close every month that is over and write its invoices, as the hourly task does: of all organisations, or of one."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--tenant", default="", help="the organisation's name in addresses (its slug)")

    def handle(self, *args: Any, **options: Any) -> None:
        slug = options["tenant"]
        tenant = Tenant.objects.filter(slug=slug).first() if slug else None
        if slug and tenant is None:
            raise CommandError(f"There is no organisation “{slug}”.")
        run = run_month(at=now(), tenant_id=tenant.id if tenant is not None else None)
        self.stdout.write(f"Invoices issued: {run.issued}. Months without any: {run.empty}. Accounts with nothing due: {run.nothing_due}.")
        for tenant_id, sentence in run.failed:
            self.stderr.write(f"{Tenant.objects.get(id=tenant_id).slug}: {sentence}")
        if run.failed:
            raise CommandError(f"Failed for {len(run.failed)} of the organisations; the others have their invoices.")
