from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.dateparse import parse_date, parse_datetime

from apps.common.clock import now
from apps.common.errors import CarinaError
from apps.tenants.context import access_of
from apps.tenants.roles import Permission
from apps.tenants.tokens import create_token, user_named


class Command(BaseCommand):
    help = "Create an API token for a user in a tenant and print only the token."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--email", required=True, help="address of the user the token acts for")
        parser.add_argument("--tenant", required=True, help="short name of the tenant, as in URLs")
        parser.add_argument("--scopes", default="", help=f"comma-separated; default: all the role allows. Known: {', '.join(Permission)}")
        parser.add_argument("--expires", default="", help="days from now (30), a date (2027-01-31) or a time with zone; default: 90 days")
        parser.add_argument("--name", default="command line", help="what the list of tokens shows")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            user = user_named(email=options["email"])
            access = access_of(user=user, slug=options["tenant"])
            scopes = [scope.strip() for scope in options["scopes"].split(",") if scope.strip()]
            made = create_token(access=access, name=options["name"], scopes=scopes, expires_at=_moment(options["expires"]))
        except CarinaError as error:
            raise CommandError(error.detail) from error
        self.stdout.write(made.text)


def _moment(text: str) -> Any:
    if not text:
        return None
    if text.isdecimal():
        return now() + timedelta(days=int(text))
    moment = None
    try:
        if day := parse_date(text):
            return now().replace(year=day.year, month=day.month, day=day.day)
        moment = parse_datetime(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise CommandError(f"--expires is {text!r}; write days (30), a date (2027-01-31) or a time with zone (2027-01-31T12:00:00Z).")
    return moment
