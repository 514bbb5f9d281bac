"""The contract of the port to payments, run against every provider.

Stripe's own servers are not reached from here. What stands for them is `tests/doubles/stripe_server.py`, whose fields, and the parameters
we send, are held against Stripe's official library: its types are generated from Stripe's description of its API.
"""

import uuid
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
import stripe
import stripe.params.checkout as parameters
from pytest_django import Settings

from apps.billing.payments.providers.base import PROVIDERS, Due, PaymentProvider, ProviderSilent, TopUp, load_provider, offered
from apps.billing.payments.providers.manual import BankTransfer
from apps.billing.payments.providers.stripe import NotFromStripe, Stripe
from apps.billing.payments.providers.stripe_amounts import from_minor, in_minor
from apps.common.errors import Conflict
from tests.doubles.stripe_server import KEY, SECRET, StripeServer, serving, signed

DUE = Due(
    tenant_id=uuid.uuid4(), invoice_id=uuid.uuid4(), number="2026-0007", amount=Decimal("12.34"), currency="EUR",
    payment_text="IBAN XX12 3456", page="https://carina.example.com/t/ann/billing/invoices/2026-0007",
)  # fmt: skip
TOP_UP = TopUp(
    tenant_id=uuid.uuid4(), tenant_name="Ann", amount=Decimal(50), currency="EUR", page="https://carina.example.com/t/ann/billing/credit"
)


@pytest.fixture(autouse=True)
def account(settings: Settings) -> Iterator[StripeServer]:
    with serving() as server:
        settings.STRIPE_SECRET_KEY, settings.STRIPE_WEBHOOK_SECRET, settings.STRIPE_API = KEY, SECRET, server.url
        yield server


@pytest.fixture(params=list(PROVIDERS))
def provider(request: pytest.FixtureRequest) -> PaymentProvider:
    return load_provider(name=request.param)()


def test_a_provider_is_known_by_the_name_it_is_registered_with(provider: PaymentProvider) -> None:
    assert isinstance(provider, load_provider(name=provider.name))
    assert provider.title


def test_a_way_has_instructions_or_a_page_and_not_both(provider: PaymentProvider) -> None:
    way = provider.way(due=DUE)
    assert way is not None
    assert way.provider == provider.name
    assert (way.instructions is None) == provider.has_page


def test_a_provider_without_a_page_says_so_and_one_with_a_page_has_an_address(provider: PaymentProvider) -> None:
    if provider.has_page:
        assert provider.checkout(due=DUE).startswith("http")
        assert provider.checkout_top_up(top_up=TOP_UP).startswith("http")
        return
    with pytest.raises(Conflict, match="follow the instructions"):
        provider.checkout(due=DUE)
    with pytest.raises(Conflict, match="follow the instructions"):
        provider.checkout_top_up(top_up=TOP_UP)


def test_the_same_payment_asked_for_twice_is_one_payment(provider: PaymentProvider) -> None:
    if provider.has_page:
        assert provider.checkout(due=DUE) == provider.checkout(due=DUE)
    else:
        assert provider.way(due=DUE) == provider.way(due=DUE)


def test_a_bank_transfer_says_where_to_how_much_and_what_for() -> None:
    way = BankTransfer().way(due=DUE)
    assert way is not None
    assert way.instructions is not None
    assert (way.instructions.text, way.instructions.amount, way.instructions.reference) == ("IBAN XX12 3456", Decimal("12.34"), "2026-0007")
    assert BankTransfer().way(due=replace(DUE, payment_text="  ")) is None


@pytest.mark.parametrize("missing", ["STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET"])
def test_stripe_is_offered_with_both_secrets_alone(missing: str, settings: Settings) -> None:
    assert [each.name for each in offered()] == ["stripe", "manual"]
    setattr(settings, missing, "")
    assert [each.name for each in offered()] == ["manual"]


def test_stripe_is_asked_for_what_is_owed_and_told_whose_it_is(account: StripeServer) -> None:
    Stripe().checkout(due=DUE)
    ((_, key, asked),) = account.asked
    assert asked["line_items"]["0"]["price_data"]["unit_amount"] == "1234"
    assert asked["line_items"]["0"]["price_data"]["currency"] == "eur"
    assert asked["metadata"] == asked["payment_intent_data"]["metadata"]
    assert (asked["metadata"]["tenant"], asked["metadata"]["invoice"]) == (str(DUE.tenant_id), str(DUE.invoice_id))
    assert asked["success_url"].startswith(DUE.page)
    assert asked["cancel_url"].startswith(DUE.page)
    assert str(DUE.invoice_id) in key


def test_another_amount_is_another_payment(account: StripeServer) -> None:
    assert Stripe().checkout(due=DUE) != Stripe().checkout(due=replace(DUE, amount=Decimal("2.34")))
    assert len({key for _, key, _ in account.asked}) == 2


def test_after_a_payment_that_failed_in_the_end_there_is_a_new_page(account: StripeServer) -> None:
    first = Stripe().checkout(due=DUE)
    account.finish(account.sessions["cs_test_1"], status="requires_payment_method", paid=False)
    second = Stripe().checkout(due=DUE)
    assert second != first
    assert Stripe().checkout(due=DUE) == second


@pytest.mark.parametrize(("status", "paid"), [("succeeded", True), ("processing", False)])
def test_what_is_paid_or_on_its_way_is_not_paid_again(status: str, paid: bool, account: StripeServer) -> None:
    Stripe().checkout(due=DUE)
    account.finish(account.sessions["cs_test_1"], status=status, paid=paid)
    with pytest.raises(Conflict, match="just paid") as refused:
        Stripe().checkout(due=DUE)
    assert refused.value.code == "payment_under_way"


def test_a_failure_that_stripe_would_repeat_for_a_day_does_not_block_a_day(account: StripeServer) -> None:
    account.fails = 1
    assert Stripe().checkout(due=DUE).startswith("http")
    account.fails = 100
    with pytest.raises(ProviderSilent, match="could not begin"):
        Stripe().checkout(due=replace(DUE, amount=Decimal(2)))


def test_the_sentence_of_stripe_about_an_amount_that_is_too_small_is_passed_on() -> None:
    with pytest.raises(Conflict, match="at least 50 cents") as refused:
        Stripe().checkout(due=replace(DUE, amount=Decimal("0.10")))
    assert refused.value.code == "payment_refused"


def test_a_silent_stripe_and_a_wrong_key_are_told_as_such_without_the_key(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    settings.STRIPE_SECRET_KEY = "sk_live_very_secret"
    with pytest.raises(ProviderSilent, match="does not answer now"):
        Stripe().checkout(due=DUE)
    settings.STRIPE_API = "http://127.0.0.1:9"
    with pytest.raises(ProviderSilent, match="does not answer now"):
        Stripe().checkout(due=DUE)
    assert "stripe_unusable" in caplog.text
    assert "very_secret" not in caplog.text


@pytest.mark.parametrize(
    ("amount", "currency", "minor"),
    [("12.34", "EUR", 1234), ("500", "JPY", 500), ("5", "ISK", 500), ("5.120", "KWD", 5120), ("10.45", "HUF", 1045)],
)
def test_amounts_are_counted_as_stripe_counts_them(amount: str, currency: str, minor: int) -> None:
    assert in_minor(amount=Decimal(amount), currency=currency) == minor
    assert from_minor(minor=minor, currency=currency) == Decimal(amount)


@pytest.mark.parametrize(("amount", "currency"), [("0.001", "EUR"), ("5.124", "KWD"), ("0", "EUR"), ("-1", "EUR"), ("0.5", "JPY")])
def test_an_amount_that_stripe_cannot_write_is_not_offered_there(amount: str, currency: str) -> None:
    due = replace(DUE, amount=Decimal(amount), currency=currency)
    assert Stripe().way(due=due) is None
    with pytest.raises(Conflict, match="bank transfer"):
        Stripe().checkout(due=due)


def test_only_what_is_signed_with_our_secret_in_the_last_minutes_is_an_event(account: StripeServer) -> None:
    body = '{"id": "evt_1", "object": "event", "type": "ping", "data": {"object": {}}}'
    assert Stripe().event(body=body.encode(), signature=signed(body))["id"] == "evt_1"
    wrong = ["", "nonsense", "t=1,v1=", signed(body, secret="whsec_other"), signed(body + " "), signed(body, at=1_600_000_000)]
    for signature in wrong:
        with pytest.raises(NotFromStripe):
            Stripe().event(body=body.encode(), signature=signature)
    for broken in (b"\xff\xfe", b"", b"[1]"):
        with pytest.raises(NotFromStripe):
            Stripe().event(body=broken, signature=signed(broken.decode(errors="replace")))


# --- Stripe's description of its API, as its library has it -----------------------------------------------------------------------


def test_every_parameter_we_send_is_one_that_stripe_has(account: StripeServer) -> None:
    Stripe().checkout(due=DUE)
    Stripe().checkout_top_up(top_up=TOP_UP)
    for _, _, asked in account.asked:
        line = asked["line_items"]["0"]
        for sent, known in [
            (asked, parameters.SessionCreateParams),
            (line, parameters.SessionCreateParamsLineItem),
            (line["price_data"], parameters.SessionCreateParamsLineItemPriceData),
            (line["price_data"]["product_data"], parameters.SessionCreateParamsLineItemPriceDataProductData),
            (asked["payment_intent_data"], parameters.SessionCreateParamsPaymentIntentData),
            (asked["adaptive_pricing"], parameters.SessionCreateParamsAdaptivePricing),
        ]:
            assert set(sent) <= set(known.__annotations__), known.__name__


def test_the_double_answers_with_fields_that_stripe_has(account: StripeServer) -> None:
    Stripe().checkout(due=DUE)
    session = account.finish(account.sessions["cs_test_1"])
    charge = account.charge(session, refunded=100)
    described: list[tuple[dict[str, Any], type[stripe.StripeObject]]] = [
        (session, stripe.checkout.Session),
        (account.intents[session["payment_intent"]], stripe.PaymentIntent),
        (charge, stripe.Charge),
        (account.event("charge.refunded", charge), stripe.Event),
    ]
    for thing, known in described:
        assert set(thing) <= set(known.__annotations__), known.__name__
        assert thing["object"] == known.OBJECT_NAME  # type: ignore[attr-defined]


def test_the_states_and_kinds_we_decide_by_are_those_stripe_has() -> None:
    session, intent = stripe.checkout.Session.__annotations__, stripe.PaymentIntent.__annotations__
    assert all(word in str(session["status"]) for word in ("open", "complete", "expired"))
    assert all(word in str(session["payment_status"]) for word in ("paid", "unpaid", "no_payment_required"))
    assert all(word in str(intent["status"]) for word in ("processing", "succeeded", "requires_capture", "requires_payment_method"))
    assert "amount_refunded" in stripe.Charge.__annotations__
