"""Usage over REST: sums that add up, files, and refusals with a sentence."""

import csv
import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from apps.billing.terms.accounts import account_of
from apps.tenants.models import Tenant
from apps.tenants.roles import Role
from tests.factories import Api, api_of, join, make_cloud, make_flavor, make_tenant, make_user, owner_of
from tests.integration.billing.clock import at
from tests.integration.billing.usage_rows import bay_of, ran, unpriced

pytestmark = pytest.mark.django_db
MARCH = datetime(2026, 3, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
FILES = ["usage.csv", "usage.json", "usage.focus.csv"]


@pytest.fixture(autouse=True)
def _tenth_of_march() -> Iterator[None]:
    with at(MARCH + 10 * DAY):
        yield


@pytest.fixture
def tenant() -> Tenant:
    make_cloud()
    make_flavor(price="0.010")
    tenant = make_tenant("harbour")
    account_of(tenant=tenant)
    return tenant


@pytest.fixture
def api(tenant: Tenant) -> Api:
    return api_of(tenant)


def test_this_month_by_day_with_totals_and_forecast(tenant: Tenant, api: Api) -> None:
    bay = bay_of(tenant, "web", moment=MARCH)
    ran(bay, (MARCH + 20 * HOUR, MARCH + 26 * HOUR))
    ran(bay, (MARCH + 239 * HOUR, None))
    answer = api.get("tenants/harbour/usage")
    assert answer.status_code == 200
    assert answer.json() == {
        "from": "2026-03-01", "to": "2026-04-01", "currency": "USD", "time_zone": "UTC", "group_by": "day",
        "total": {"host_seconds": 25200, "host_hours": "7.00000000", "host_seconds_without_price": 0, "amount": "0.07"},
        "rows": [
            {"key": "2026-03-01", "label": "2026-03-01", "host_seconds": 14400, "host_hours": "4.00000000", "amount": "0.04"},
            {"key": "2026-03-02", "label": "2026-03-02", "host_seconds": 7200, "host_hours": "2.00000000", "amount": "0.02"},
            {"key": "2026-03-10", "label": "2026-03-10", "host_seconds": 3600, "host_hours": "1.00000000", "amount": "0.01"},
        ],
        "this_month": {"month": "2026-03", "adjustments": [], "spent": "0.07", "forecast": "5.11"},
    }  # fmt: skip


@pytest.mark.parametrize("group", ["bay", "flavor", "cloud", "member", "tag:team"])
def test_each_group_has_keys_for_programs_and_labels_for_people(tenant: Tenant, api: Api, group: str) -> None:
    bay = bay_of(tenant, "web", moment=MARCH)
    ran(bay, (MARCH, MARCH + HOUR))
    (row,) = api.get(f"tenants/harbour/usage?group_by={group}").json()["rows"]
    expected = {
        "bay": (str(bay.id), "web"),
        "flavor": ("c1.small", "c1.small"),
        "cloud": ("local", "local"),
        "member": (owner_of(tenant).email, owner_of(tenant).email),
        "tag:team": ("", "without this tag"),
    }
    assert (row["key"], row["label"]) == expected[group]
    assert row["amount"] == "0.01"


def test_days_from_until_before(tenant: Tenant, api: Api) -> None:
    ran(bay_of(tenant, moment=MARCH), (MARCH, MARCH + 5 * DAY))
    answer = api.get("tenants/harbour/usage?from=2026-03-02&to=2026-03-04").json()
    assert [row["key"] for row in answer["rows"]] == ["2026-03-02", "2026-03-03"]
    assert answer["total"]["host_hours"] == "48.00000000"
    assert api.get("tenants/harbour/usage?from=2026-02-27").json()["to"] == "2026-03-01"


def test_usage_without_a_price_is_counted_apart(tenant: Tenant, api: Api) -> None:
    bay = bay_of(tenant, moment=MARCH)
    ran(bay, (MARCH, MARCH + HOUR), flavor=unpriced(bay.flavor))
    total = api.get("tenants/harbour/usage").json()["total"]
    assert total == {"host_seconds": 3600, "host_hours": "1.00000000", "host_seconds_without_price": 3600, "amount": "0.00"}


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("from=yesterday", "from"), ("from=2026-02-30", "from"), ("to=2026-13-01", "to"), ("from=0001-01-01", "from"),
        ("from=9999-12-31", "from"), ("from=2026-03-02&to=2026-03-02", "to"), ("from=2026-03-02&to=2026-03-01", "to"),
        ("from=2025-01-01&to=2026-01-03", "to"), ("from=%00", "from"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("address", ["usage", *FILES])
def test_what_is_no_range_of_at_most_a_year_is_refused(api: Api, address: str, query: str, field: str) -> None:
    answer = api.get(f"tenants/harbour/{address}?{query}")
    assert answer.status_code == 422
    assert list(answer.json()["errors"]) == [field]
    assert answer.json()["detail"].count(".") == 1


def test_a_year_and_a_day_for_leap_years_is_not_too_long(api: Api) -> None:
    assert api.get("tenants/harbour/usage?from=2024-01-01&to=2025-01-01").status_code == 200


@pytest.mark.parametrize("group", ["colour", "tag:", ""])
def test_what_is_no_group_is_refused(api: Api, group: str) -> None:
    answer = api.get(f"tenants/harbour/usage?group_by={group}")
    assert answer.status_code == 422
    assert "group_by" in answer.json()["errors"]


@pytest.mark.parametrize("address", FILES)
def test_files_come_as_downloads_that_are_kept_by_no_cache(tenant: Tenant, api: Api, address: str) -> None:
    ran(bay_of(tenant, "web", moment=MARCH), (MARCH, MARCH + HOUR))
    answer = api.get(f"tenants/harbour/{address}?from=2026-03-01&to=2026-03-03")
    assert answer.status_code == 200
    assert answer.streaming
    name = f"harbour-usage-2026-03-01-to-2026-03-02.{address.partition('.')[2]}"
    assert answer["Content-Disposition"] == f'attachment; filename="{name}"'
    assert answer["Cache-Control"] == "no-store"
    assert "web" in content(answer)


def test_a_file_is_written_in_the_scope_of_who_asked(tenant: Tenant, api: Api) -> None:
    other = make_tenant("elsewhere")
    ran(bay_of(other, "secret", moment=MARCH), (MARCH, MARCH + HOUR))
    ran(bay_of(tenant, "web", moment=MARCH), (MARCH, MARCH + HOUR))
    rows = list(csv.DictReader(io.StringIO(content(api.get("tenants/harbour/usage.csv")))))
    assert [row["bay"] for row in rows] == ["web"]


@pytest.mark.parametrize("address", ["usage", *FILES])
def test_it_needs_the_right_to_see_bills(tenant: Tenant, address: str) -> None:
    viewer, biller = make_user(), make_user()
    join(tenant, viewer, role=Role.VIEWER)
    join(tenant, biller, role=Role.BILLING)
    assert api_of(tenant, viewer).get(f"tenants/harbour/{address}").status_code == 403
    assert api_of(tenant, scopes=["bay:read"]).get(f"tenants/harbour/{address}").status_code == 403
    assert api_of(tenant, biller).get(f"tenants/harbour/{address}").status_code == 200
    assert api_of(tenant, scopes=["billing:read"]).get(f"tenants/harbour/{address}").status_code == 200
    assert api_of(make_tenant("elsewhere")).get(f"tenants/harbour/{address}").status_code == 404
    assert Api().get(f"tenants/harbour/{address}").status_code == 401


def content(answer: Any) -> str:
    return b"".join(answer.streaming_content).decode()
