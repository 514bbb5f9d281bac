"""Stripe, through its official library: its Checkout page takes the money, its events say what came of it.

Only this file speaks to Stripe, and only its class is known outside. Fields and parameters are those of the API version that the pinned
library was made for; see docs/payments.md for what of this has been run against what.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, ClassVar

import stripe
import structlog
from django.conf import settings
from django.utils.translation import gettext as _
from stripe.params.checkout import SessionCreateParams

from apps.billing.payments.providers.base import Due, ProviderSilent, TopUp, Way
from apps.billing.payments.providers.stripe_amounts import in_minor
from apps.common.errors import Conflict, InvalidInput

log = structlog.get_logger(__name__)
PATIENCE = 10.0
"""Seconds a question to Stripe may take: a person waits for the answer."""
SESSIONS = 5
"""How many times a payment of the same amount for the same invoice can end without success within a day, before the next must wait."""
TOLERANCE = 300
"""Seconds the signature of an event may be old, so that nobody can play a recorded one again later (Stripe's own default)."""


class NotFromStripe(InvalidInput):
    """What came as an event is not signed by Stripe for this portal, or too old."""

    status = 400
    code = "signature_invalid"


class Stripe:
    """Cards, and whatever else the operator has switched on at Stripe."""

    name: ClassVar[str] = "stripe"
    title: ClassVar[str] = "Card"
    has_page: ClassVar[bool] = True

    @classmethod
    def is_offered(cls) -> bool:
        """Only with both secrets: without the second nobody would learn of a payment."""
        return bool(settings.STRIPE_SECRET_KEY and settings.STRIPE_WEBHOOK_SECRET)

    def way(self, *, due: Due) -> Way | None:
        """Return the way by a page of Stripe's; None for amounts that Stripe cannot write down."""
        try:
            in_minor(amount=due.amount, currency=due.currency)
        except Conflict:
            return None
        return Way(provider=self.name, title=_("Card"))

    def checkout(self, *, due: Due) -> str:
        """Return the address of a Checkout Session for what is owed.

        The idempotency key is made of the invoice and all that is asked for it, so that two people, two windows or a retry come to one
        session. Stripe answers a known key with what it answered the first time, however old: so what became of that session is looked
        at, and where it ended without success the next key is used.
        """
        marks = {"kind": "invoice", "invoice": str(due.invoice_id), "number": due.number}
        params = self._params(
            tenant_id=str(due.tenant_id), amount=due.amount, currency=due.currency, name=_("Invoice %s") % due.number,
            page=due.page, marks=marks,
        )  # fmt: skip
        digest = hashlib.sha256(json.dumps(params, sort_keys=True).encode()).hexdigest()[:24]
        with _asking() as client:
            for number in range(1, SESSIONS + 1):
                session = self._session(client, params, key=f"{due.invoice_id}-{digest}-{number}")
                if session is None:
                    continue
                if session.status == "open" and session.url:
                    return session.url
                _refuse_if_on_its_way(session)
        raise ProviderSilent("Stripe could not begin this payment now; try again in a while, or pay by bank transfer.")

    def checkout_top_up(self, *, top_up: TopUp) -> str:
        """Return the address of a Checkout Session for prepaid credit: a new one each time, for people may well buy the same twice."""
        params = self._params(
            tenant_id=str(top_up.tenant_id), amount=top_up.amount, currency=top_up.currency,
            name=_("Prepaid credit for %s") % top_up.tenant_name, page=top_up.page, marks={"kind": "topup"},
        )  # fmt: skip
        with _asking() as client:
            session = client.v1.checkout.sessions.create(params=params)
        if not session.url:
            raise ProviderSilent("Stripe gave no address to pay at; try again in a minute.")
        return session.url

    def event(self, *, body: bytes, signature: str) -> dict[str, Any]:
        """Return an event as Stripe sent it. Raises NotFromStripe unless it is signed with this portal's secret, in the last minutes."""
        try:
            stripe.Webhook.construct_event(body, signature, settings.STRIPE_WEBHOOK_SECRET, tolerance=TOLERANCE)
            event: dict[str, Any] = json.loads(body)
        except (stripe.SignatureVerificationError, ValueError, AttributeError) as error:
            raise NotFromStripe(
                "This is not an event that Stripe signed for this portal within the last five minutes; nothing was done."
            ) from error
        return event

    def _session(self, client: stripe.StripeClient, params: SessionCreateParams, *, key: str) -> stripe.checkout.Session | None:
        """Return the session of the key as it is now; None where Stripe failed at it, which it would repeat for the same key."""
        try:
            session = client.v1.checkout.sessions.create(params=params, options={"idempotency_key": key})
        except stripe.APIError as error:
            log.warning("stripe_failed", status=error.http_status, request=error.request_id)
            return None
        answer = session.last_response
        if answer is not None and answer.headers.get("Idempotent-Replayed") == "true":
            return client.v1.checkout.sessions.retrieve(session.id, params={"expand": ["payment_intent"]})
        return session

    def _params(
        self, *, tenant_id: str, amount: Decimal, currency: str, name: str, page: str, marks: Mapping[str, str]
    ) -> SessionCreateParams:
        # The charge, and with it the event of a refund, has the marks of the payment, not those of the session.
        metadata = {"installation": settings.INSTALLATION, "tenant": tenant_id, **marks}
        return {
            "mode": "payment",
            "line_items": [
                {
                    "quantity": 1,
                    "price_data": {
                        "currency": currency.lower(),
                        "unit_amount": in_minor(amount=amount, currency=currency),
                        "product_data": {"name": name},
                    },
                }
            ],
            "metadata": metadata,
            "payment_intent_data": {"metadata": metadata, "description": name},
            # What is asked for in one currency must not arrive in another.
            "adaptive_pricing": {"enabled": False},
            "success_url": f"{page}?payment=sent",
            "cancel_url": f"{page}?payment=left",
        }


def _refuse_if_on_its_way(session: stripe.checkout.Session) -> None:
    """Raise Conflict for a session that was paid, or whose payment is being carried out: a second one would be too much."""
    intent = session.payment_intent
    processing = isinstance(intent, stripe.PaymentIntent) and intent.status in {"processing", "succeeded", "requires_capture"}
    if session.status == "complete" and (session.payment_status == "paid" or processing):
        raise Conflict(
            "This was just paid; Stripe tells us as soon as the money is certain, and it is shown here then.", code="payment_under_way"
        )


@contextmanager
def _asking() -> Iterator[stripe.StripeClient]:
    """Give a client of Stripe. What it refuses becomes Conflict with its own sentence, its silence ProviderSilent; no secret is logged."""
    http = stripe.RequestsClient(timeout=PATIENCE)
    try:
        yield stripe.StripeClient(
            settings.STRIPE_SECRET_KEY, base_addresses={"api": settings.STRIPE_API}, max_network_retries=1, http_client=http
        )
    except stripe.InvalidRequestError as error:
        log.warning("stripe_refused", code=error.code, param=error.param, request=error.request_id)
        raise Conflict(f"Stripe does not take this payment: {error.user_message}", code="payment_refused") from error
    except stripe.StripeError as error:
        log.warning("stripe_unusable", error=type(error).__name__, status=error.http_status, request=error.request_id)
        raise ProviderSilent("Stripe does not answer now; try again in a minute, or pay by bank transfer.") from error
    finally:
        http.close()  # type: ignore[no-untyped-call]  # the library has types but for this
