"""Usage as an answer that is a file: the same from pages and from the API."""

from collections.abc import Callable, Iterator, Mapping

from django.http import HttpResponse, StreamingHttpResponse

from apps.billing.models import Account
from apps.billing.usage.date_ranges import parse_range
from apps.billing.usage.exports import as_csv, as_json
from apps.billing.usage.focus import as_focus_csv
from apps.common.clock import now
from apps.common.scope import streamed

CSV = "text/csv; charset=utf-8"
FILES: dict[str, tuple[Callable[..., Iterator[str]], str]] = {
    "csv": (as_csv, CSV),
    "json": (as_json, "application/json"),
    "focus.csv": (as_focus_csv, CSV),
}


def usage_file_of(*, account: Account, parameters: Mapping[str, str], kind: str) -> HttpResponse:
    """Return the usage that the parameters of an address ask for (see `date_ranges`), as one of FILES; it is written while it is sent.

    The caller has checked that the asker may read it. Raises InvalidInput for a range that is none.
    """
    moment = now()
    days = parse_range(parameters=parameters, zone=account.time_zone, at=moment)
    write, content_type = FILES[kind]
    pieces = streamed(write(account=account, days=days, as_of=moment))
    response = StreamingHttpResponse(pieces, content_type=content_type)
    response.headers["Content-Disposition"] = f'attachment; filename="{account.tenant.slug}-usage-{days.words}.{kind}"'
    response.headers["Cache-Control"] = "no-store"
    return response  # type: ignore[return-value]  # Django's two kinds of answers have no common class that decorators know
