"""The create form on a portal with several clouds, in a real browser. The portal runs in this process, its clouds are rows alone."""

import pytest
from playwright.sync_api import Page, expect

from tests.e2e import journey
from tests.factories import make_cloud, make_flavor, make_tenant, owner_of
from tests.sites import let_in

pytestmark = pytest.mark.django_db(transaction=True)


def test_the_flavors_shown_are_those_of_the_chosen_cloud(site: str, page: Page, axe: str) -> None:
    make_cloud("harbour", free=40)
    make_cloud("island", free=2)
    make_flavor()
    make_flavor("c1.large", vcpus=4)
    let_in(page.context, user=owner_of(make_tenant("crew")), site=site)
    page.goto(f"{site}/t/crew/bays/new")
    large = page.locator("label.flavor", has_text="c1.large")
    expect(large).to_contain_text("room for 10")
    large.click()
    page.get_by_label("Name", exact=True).fill("")  # nothing that is half filled in keeps the table from following
    page.get_by_text("Advanced").click()
    page.get_by_label("Cloud").select_option("island")
    expect(large).to_contain_text("no room left")
    expect(large.get_by_role("radio")).to_be_disabled()
    small = page.locator("label.flavor", has_text="c1.small")
    expect(small).to_contain_text("room for 2")
    expect(small.get_by_role("radio")).to_be_checked()
    expect(page.locator("#summary")).to_contain_text("2 hosts")  # the room that is left there, which the summary asked anew
    journey.look_at(page, axe, "create-on-a-cloud")
    page.get_by_label("Cloud").select_option("harbour")
    expect(large).to_contain_text("room for 10")
    expect(small.get_by_role("radio")).to_be_checked()
