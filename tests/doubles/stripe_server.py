"""A small Stripe on loopback: the two addresses that are used of it, its idempotency, its errors, and its signed events.

Made after Stripe's documentation, not recorded from it: https://docs.stripe.com/api/checkout/sessions, /api/idempotent_requests,
/api/errors, /api/events and /webhooks. `tests/contracts/test_payment_provider.py` holds the names of its fields against those of
Stripe's own library, which are generated from Stripe's own description.
"""

import itertools
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import stripe

KEY, SECRET = "sk_test_of_tests_alone", "whsec_of_tests_alone"
LEAST = 50
"""Stripe takes nothing below about 50 cents."""
Thing = dict[str, Any]


@dataclass
class StripeServer:
    """The state of one account. `fails` is how many of the next requests end with a 500, which Stripe then repeats for the same key."""

    url: str = ""
    fails: int = 0
    sessions: dict[str, Thing] = field(default_factory=dict)
    intents: dict[str, Thing] = field(default_factory=dict)
    answers: dict[str, tuple[Thing, int, str]] = field(default_factory=dict)
    asked: list[tuple[str, str, Thing]] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def create(self, params: Thing, key: str) -> tuple[int, Thing, bool]:
        """Answer a POST to /v1/checkout/sessions: status, body, and whether it is the answer of an earlier one."""
        wanted = json.dumps(params, sort_keys=True)
        if key in self.answers:
            first, status, body = self.answers[key]
            if first != {"params": wanted}:
                return 400, _error("idempotency_error", "Keys for idempotent requests can only be used with the same parameters."), False
            return status, json.loads(body), True
        status, answer = self._created(params)
        if status != 400:  # what fails validation is not kept
            self.answers[key] = ({"params": wanted}, status, json.dumps(answer))
        return status, answer, False

    def _created(self, params: Thing) -> tuple[int, Thing]:
        if self.fails:
            self.fails -= 1
            return 500, _error("api_error", "An unknown error occurred.")
        (line,) = params["line_items"].values()
        price = line["price_data"]
        amount = int(price["unit_amount"]) * int(line["quantity"])
        if amount < LEAST:
            return 400, _error(
                "invalid_request_error", "The Checkout Session's total amount must convert to at least 50 cents.", "amount_too_small"
            )
        number = next(self.numbers)
        session = {
            "id": f"cs_test_{number}", "object": "checkout.session", "amount_subtotal": amount, "amount_total": amount,
            "currency": price["currency"], "mode": params["mode"], "metadata": params.get("metadata", {}), "payment_intent": None,
            "payment_status": "unpaid", "status": "open", "success_url": params["success_url"], "cancel_url": params["cancel_url"],
            "url": f"{self.url}/pay/cs_test_{number}", "livemode": False, "created": int(time.time()),
            "expires_at": int(time.time()) + 86400, "customer_details": None, "client_reference_id": None,
        }  # fmt: skip
        self.sessions[session["id"]] = {**session, "intent_metadata": params.get("payment_intent_data", {}).get("metadata", {})}
        return 200, session

    def retrieve(self, session_id: str) -> Thing:
        """Answer a GET with `expand[]=payment_intent`."""
        session = self._public(self.sessions[session_id])
        return {**session, "payment_intent": self.intents.get(session["payment_intent"] or "")}

    def finish(self, session: Thing, *, status: str = "succeeded", paid: bool = True) -> Thing:
        """Let somebody pay a session by card, or by a way that takes days (`"processing"`, not paid); return it as it is then."""
        number = next(self.numbers)
        intent = {
            "id": f"pi_{number}", "object": "payment_intent", "amount": session["amount_total"], "currency": session["currency"],
            "status": status, "metadata": session["intent_metadata"], "livemode": False, "created": int(time.time()),
        }  # fmt: skip
        self.intents[intent["id"]] = intent
        people = {"email": "ann@example.com", "name": "Ann Payer", "address": {"city": "Harbour"}}
        session.update(
            payment_intent=intent["id"], status="complete", payment_status="paid" if paid else "unpaid", url=None, customer_details=people
        )
        return self._public(session)

    def charge(self, session: Thing, *, refunded: int) -> Thing:
        """Return the charge of a paid session of which so much was given back altogether, with what Stripe knows of the card."""
        card = {"brand": "visa", "last4": "4242", "exp_month": 12, "exp_year": 2031}
        return {
            "id": f"ch_{session['payment_intent'][3:]}", "object": "charge", "amount": session["amount_total"], "amount_refunded": refunded,
            "refunded": refunded == session["amount_total"], "currency": session["currency"], "payment_intent": session["payment_intent"],
            "metadata": self.intents[session["payment_intent"]]["metadata"], "paid": True, "status": "succeeded", "livemode": False,
            "created": int(time.time()), "payment_method_details": {"type": "card", "card": card},
            "billing_details": {"email": "ann@example.com", "name": "Ann Payer"}, "receipt_url": "https://pay.stripe.com/receipts/1",
        }  # fmt: skip

    def event(self, kind: str, subject: Thing, *, created: int | None = None) -> Thing:
        """Return an event about something."""
        return {
            "id": f"evt_{next(self.numbers)}", "object": "event", "api_version": stripe.api_version,
            "created": int(time.time()) if created is None else created, "data": {"object": subject}, "livemode": False,
            "pending_webhooks": 1, "request": {"id": None, "idempotency_key": None}, "type": kind,
        }  # fmt: skip

    @staticmethod
    def _public(session: Thing) -> Thing:
        return {name: value for name, value in session.items() if name != "intent_metadata"}


def signed(body: str, *, secret: str = SECRET, at: int | None = None) -> str:
    """Return the header Stripe-Signature, made with the library's own scheme."""
    return str(stripe.WebhookSignature.generate_signature_header(body, secret, timestamp=at))


def nested(pairs: list[tuple[str, str]]) -> Thing:
    """Return what form fields such as `line_items[0][price_data][currency]` say."""
    found: Thing = {}
    for name, value in pairs:
        first, *rest = name.replace("]", "").split("[")
        place, last = found, first
        for step in rest:
            place, last = place.setdefault(last, {}), step
        place[last] = value
    return found


def _error(kind: str, message: str, code: str = "") -> Thing:
    return {"error": {"type": kind, "message": message, **({"code": code} if code else {})}}


class _Handler(BaseHTTPRequestHandler):
    server_of: StripeServer

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's
        """Say nothing on the terminal."""

    def do_POST(self) -> None:
        params = nested(parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode()))
        key = self.headers.get("Idempotency-Key") or ""
        self.server_of.asked.append((self.path, key, params))
        if not self._is_known():
            return
        if self.path != "/v1/checkout/sessions":
            self._answer(404, _error("invalid_request_error", f"Unrecognized request URL (POST: {self.path})."))
            return
        status, body, replayed = self.server_of.create(params, key)
        self._answer(status, body, **({"Idempotent-Replayed": "true"} if replayed else {}))

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path.startswith("/pay/"):
            self._page()
        elif self._is_known():
            session_id = path.rpartition("/")[2]
            if path.startswith("/v1/checkout/sessions/") and session_id in self.server_of.sessions:
                self._answer(200, self.server_of.retrieve(session_id))
            else:
                self._answer(404, _error("invalid_request_error", f"No such checkout.session: '{session_id}'", "resource_missing"))

    def _is_known(self) -> bool:
        if self.headers.get("Authorization") == f"Bearer {KEY}":
            return True
        self._answer(401, _error("invalid_request_error", "Invalid API Key provided: sk_test_****"))
        return False

    def _page(self) -> None:
        content = b"<!DOCTYPE html><html lang=en><title>Checkout</title><h1>Pay here</h1>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _answer(self, status: int, body: Thing, **headers: str) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Request-Id": "req_1", "Stripe-Should-Retry": "false", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def serving() -> Iterator[StripeServer]:
    """Serve an account of its own on a free port of this machine."""
    account = StripeServer()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"server_of": account}))
    account.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield account
    server.shutdown()
    server.server_close()
    thread.join()
