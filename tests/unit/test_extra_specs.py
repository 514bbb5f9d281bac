"""The rule of Nova's AggregateInstanceExtraSpecsFilter, by its documented examples."""

import pytest

from apps.hosts.extra_specs import unmet_specs

SCOPED = "aggregate_instance_extra_specs"


@pytest.mark.parametrize(
    ("wanted", "offered"),
    [
        ("true", "true"),
        ("ssd", "hdd, ssd"),
        ("s== ssd", "ssd"),
        ("s!= hdd", "ssd"),
        ("s< b", "a"),
        ("s>= b", "b"),
        ("<in> 12", "34,1234"),
        ("<all-in> aes mmx", "aes mmx sse"),
        ("<or> spam <or> ham", "ham"),
        ("= 4", "8"),
        ("== 4", "4.0"),
        ("!= 4", "5"),
        (">= 4", "4"),
        ("<= 4", "3"),
    ],
)
def test_a_flavor_fits_an_aggregate_that_offers_what_it_wants(wanted: str, offered: str) -> None:
    assert unmet_specs(extra_specs={f"{SCOPED}:disk": wanted}, metadata={"disk": offered}) == []


@pytest.mark.parametrize(
    ("wanted", "offered"),
    [
        ("true", "false"),
        ("true", ""),
        ("ssd", "hdd,nvme"),
        ("s== ssd", "hdd"),
        ("s!= ssd", "ssd"),
        ("s> b", "a"),
        ("<in> 12", "34"),
        ("<all-in> aes avx", "aes mmx sse"),
        ("<or> spam <or> ham", "eggs"),
        ("<or>", "<or>"),
        ("= 4", "3"),
        (">= 4", "many"),
        (">=", "4"),
    ],
)
def test_a_flavor_does_not_fit_an_aggregate_that_offers_something_else(wanted: str, offered: str) -> None:
    assert unmet_specs(extra_specs={f"{SCOPED}:disk": wanted}, metadata={"disk": offered}) == ["disk"]


def test_what_an_aggregate_does_not_speak_of_is_unmet() -> None:
    assert unmet_specs(extra_specs={f"{SCOPED}:gpu": "true", "ssd": "true"}, metadata={"ssd": "true"}) == ["gpu"]


def test_a_key_without_a_scope_counts_too() -> None:
    assert unmet_specs(extra_specs={"ssd": "true"}, metadata={"ssd": "false"}) == ["ssd"]


def test_other_scopes_are_for_somebody_else() -> None:
    assert unmet_specs(extra_specs={"hw:cpu_policy": "dedicated", "quota:vif": "1"}, metadata={}) == []


def test_a_flavor_that_wants_nothing_fits_everywhere() -> None:
    assert unmet_specs(extra_specs={}, metadata={"ssd": "true"}) == []
