"""What is spent is watched: budgets mail once and block growth, prepaid credit that is used up blocks too; nothing ever stops what runs."""

import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import ClassVar
from unittest.mock import patch
from uuid import UUID

import pytest
from django.conf import settings
from django.core import mail
from django.db import connection

from apps.audit.models import AuditEvent
from apps.audit.services import Actor
from apps.bays.services import create_bay, delete_bay, resize_bay
from apps.bays.spec import parse_spec
from apps.billing import tasks
from apps.billing.budgets import actions, watching
from apps.billing.budgets.actions.base import BudgetAction, Standing
from apps.billing.budgets.services import change_budget, create_budget, delete_budget
from apps.billing.budgets.watching import EVERY, look_at, watch, watched_tenants
from apps.billing.credit.grants import grant_credit
from apps.billing.models import Account, BudgetCrossing, Plan, Subscription
from apps.billing.terms.accounts import account_of
from apps.billing.usage.spend import spend_of
from apps.common.errors import Conflict
from apps.common.scope import carried
from apps.operations.models import Operation
from apps.operations.states import State
from apps.tenants.models import Hold, Tenant
from apps.tenants.roles import Role
from tests.factories import access_for, join, make_bay, make_cloud, make_flavor, make_tenant, make_user, owner_of
from tests.integration.billing.clock import at

pytestmark = pytest.mark.django_db
MARCH, APRIL = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC)
DESK = Actor.system("tests")


def hour(hours: float) -> datetime:
    return MARCH + timedelta(hours=hours)


def tenant_that_spends(*, hosts: int = 2) -> Tenant:
    """An organisation with a bay “web” whose hosts cost $1 an hour each, since the first of March."""
    with at(MARCH):
        tenant = make_tenant()
        make_bay(tenant, node_count=hosts)
    return tenant


@pytest.fixture
def tenant() -> Tenant:
    make_cloud()
    make_flavor(price="1")
    return tenant_that_spends()


def budget(tenant: Tenant, amount: object, *rules: tuple[int, str], name: str = "team") -> None:
    with at(MARCH + timedelta(seconds=tenant.budgets.count())):
        create_budget(
            access=access_for(tenant), name=name, amount=amount, rules=[{"percent": share, "action": action} for share, action in rules]
        )


def ask_for_a_bay(tenant: Tenant, name: str = "more") -> None:
    create_bay(access=access_for(tenant), spec=parse_spec(data={"name": name, "coe": "swarm", "flavor": "c1.small", "node_count": 1}))


def may_grow(tenant: Tenant) -> bool:
    try:
        ask_for_a_bay(tenant, f"more-{tenant.bays.count()}")
    except Conflict as error:
        if error.code not in {"budget", "credit"}:
            raise
        return False
    return True


class TestBlocking:
    def test_a_spent_budget_refuses_new_bays_with_a_sentence_that_says_what_to_do(self, tenant: Tenant) -> None:
        budget(tenant, 20, (100, "block"))
        watch(at=hour(9.9))
        assert may_grow(tenant)
        watch(at=hour(10))
        with pytest.raises(Conflict) as refusal:
            ask_for_a_bay(tenant)
        assert refusal.value.code == "budget"
        assert refusal.value.detail == (
            "The budget “team” allows no growth from 100 % on, and $20.00 of its $20.00 a month are spent: no new bays and no more hosts "
            "until somebody who manages billing raises it (under Billing, Budgets), or until March ends on 1 April."
        )

    def test_growth_is_refused_while_shrinking_and_deleting_stay_possible(self, tenant: Tenant) -> None:
        budget(tenant, 20, (100, "block"))
        watch(at=hour(10))
        access = access_for(tenant)
        with pytest.raises(Conflict) as refusal:
            resize_bay(access=access, reference="web", node_count=3)
        assert refusal.value.code == "budget"
        resize_bay(access=access, reference="web", node_count=1)
        Operation.objects.filter(state=State.PENDING).update(state=State.SUCCEEDED, finished_at=hour(10), progress=100)
        delete_bay(access=access, reference="web")

    def test_raising_or_deleting_the_budget_or_a_new_month_lifts_it(self, tenant: Tenant) -> None:
        budget(tenant, 20, (100, "block"))
        with at(hour(10)):
            watch(at=hour(10))
            assert not may_grow(tenant)
            change_budget(access=access_for(tenant), reference="team", amount=100)
            assert may_grow(tenant)
            change_budget(access=access_for(tenant), reference="team", amount=20)
            assert not may_grow(tenant)
            delete_budget(access=access_for(tenant), reference="team")
            assert may_grow(tenant)
        budget(tenant, 20, (100, "block"))
        watch(at=hour(10))
        assert not may_grow(tenant)
        watch(at=APRIL)
        assert may_grow(tenant)

    def test_two_budgets_say_both_why(self, tenant: Tenant) -> None:
        budget(tenant, 20, (100, "block"))
        budget(tenant, 30, (50, "block"), name="other")
        watch(at=hour(10))
        with pytest.raises(Conflict, match=r"“team”.*“other”"):
            ask_for_a_bay(tenant)
        assert AuditEvent.objects.filter(action="hold.put").count() == 2
        watch(at=APRIL)
        assert AuditEvent.objects.filter(action="hold.lifted").count() == 2

    def test_other_families_of_holds_are_left_alone(self, tenant: Tenant) -> None:
        budget(tenant, 20, (100, "block"))
        Hold.objects.create(tenant=tenant, code="overdue", sentence="Pay.", created_at=MARCH)
        watch(at=hour(10))
        watch(at=APRIL)
        assert [hold.code for hold in tenant.holds.all()] == ["overdue"]

    def test_from_crossing_to_refusal_it_takes_less_than_a_minute(self, tenant: Tenant) -> None:
        (every,) = [entry for entry in settings.CELERY_BEAT_SCHEDULE.values() if entry["task"] == "billing.watch_budgets"]
        assert every["schedule"] == EVERY <= 30
        budget(tenant, 20, (100, "block"))
        crossing = hour(10) - timedelta(seconds=9)  # from when on two hosts have cost $19.995, which is $20.00
        looks = [crossing + timedelta(seconds=offset) for offset in (-1, -1 + every["schedule"])]
        refused = []
        for moment in looks:  # the look that just missed the crossing, and the one after it
            watch(at=moment)
            refused.append(not may_grow(tenant))
        assert refused == [False, True]
        assert looks[1] - crossing < timedelta(seconds=60)


class TestMails:
    def test_each_share_is_mailed_once_to_who_looks_after_billing(self, tenant: Tenant) -> None:
        billing, operator = make_user("billing@example.com"), make_user("operator@example.com")
        join(tenant, billing, role=Role.BILLING)
        join(tenant, operator, role=Role.OPERATOR)
        account_of(tenant=tenant)
        Account.objects.update(email="bills@example.com")
        budget(tenant, 40, (50, "mail"), (80, "mail"))
        watch(at=hour(9))
        assert mail.outbox == []
        watch(at=hour(10))
        watch(at=hour(10.1))
        assert sorted(message.to[0] for message in mail.outbox) == sorted(
            ["bills@example.com", "billing@example.com", owner_of(tenant).email]
        )
        first = mail.outbox[0]
        assert first.subject == f"50 % of the budget “team” of {tenant.name} are spent"
        assert "$20.00 of $40.00" in first.body
        assert f"/t/{tenant.slug}/billing/budgets" in first.body
        assert "Nothing is stopped" in first.body
        watch(at=hour(16))
        assert len(mail.outbox) == 6

    def test_shares_that_are_reached_at_once_make_one_mail_about_the_highest(self, tenant: Tenant) -> None:
        budget(tenant, 20, (50, "mail"), (80, "mail"), (100, "mail"))
        watch(at=hour(11))
        (message,) = mail.outbox
        assert "because 100 % were reached" in message.body
        assert BudgetCrossing.objects.count() == 3
        watch(at=hour(12))
        assert len(mail.outbox) == 1

    def test_a_new_month_mails_again(self, tenant: Tenant) -> None:
        budget(tenant, 20, (50, "mail"))
        watch(at=hour(6))
        watch(at=APRIL + timedelta(hours=1))
        assert len(mail.outbox) == 1
        watch(at=APRIL + timedelta(hours=6))
        assert len(mail.outbox) == 2

    def test_who_is_blocked_is_told_once_in_one_mail(self, tenant: Tenant) -> None:
        budget(tenant, 20, (100, "block"), (100, "mail"))
        budget(tenant, 22, (100, "block"), name="other")
        watch(at=hour(10))
        watch(at=hour(11))
        assert [message.subject for message in mail.outbox] == [
            f"100 % of the budget “team” of {tenant.name} are spent - growth is blocked",
            f"100 % of the budget “other” of {tenant.name} are spent - growth is blocked",
        ]
        assert "refused from now on" in mail.outbox[0].body

    def test_a_mail_that_cannot_be_sent_is_tried_again_and_blocks_nobody_less(self, tenant: Tenant) -> None:
        budget(tenant, 20, (100, "mail"), (100, "block"))
        with patch("django.core.mail.EmailMessage.send", side_effect=OSError("no mail server")):
            watch(at=hour(10))
        assert not may_grow(tenant)
        assert not BudgetCrossing.objects.filter(action="mail").exists()
        watch(at=hour(10.1))
        assert len(mail.outbox) == 1

    @pytest.mark.django_db(transaction=True)
    def test_two_watchers_at_once_mail_once(self, tenant: Tenant) -> None:
        budget(tenant, 20, (50, "mail"), (100, "block"))
        gate = threading.Barrier(2)

        def look() -> None:
            gate.wait()
            look_at(tenant_id=tenant.id, at=hour(10))
            connection.close()

        watchers = [threading.Thread(target=carried(look)) for _ in range(2)]
        for watcher in watchers:
            watcher.start()
        for watcher in watchers:
            watcher.join()
        assert len(mail.outbox) == 2, "one of each action"
        assert BudgetCrossing.objects.count() == 2
        assert tenant.holds.count() == 1


class TestPrepaid:
    @pytest.fixture(autouse=True)
    def _prepaid(self, tenant: Tenant) -> None:
        plan = Plan.objects.create(code="prepaid", title="Prepaid", kind=Plan.Kind.PREPAID, created_at=MARCH)
        Subscription.objects.create(tenant=tenant, plan=plan, starts_at=MARCH, created_by="tests", created_at=MARCH)

    def grant(self, tenant: Tenant, amount: int) -> None:
        with at(MARCH):
            grant_credit(by=DESK, tenant=tenant, kind="prepaid", amount=Decimal(amount), currency="USD", reason="Card")

    def test_growth_is_refused_once_the_credit_is_used_up_and_not_when_more_is_added(self, tenant: Tenant) -> None:
        self.grant(tenant, 20)
        watch(at=hour(9.9))
        assert may_grow(tenant)
        watch(at=hour(10))
        with pytest.raises(Conflict, match=r"prepaid credit of .* is used up") as refusal:
            ask_for_a_bay(tenant)
        assert refusal.value.code == "credit"
        self.grant(tenant, 20)
        tasks.watch_one(tenant_id=str(tenant.id))
        watch(at=hour(10.1))
        assert may_grow(tenant)

    def test_adding_credit_has_it_looked_at_without_waiting_for_the_next_round(
        self, tenant: Tenant, django_capture_on_commit_callbacks: object
    ) -> None:
        with patch("apps.billing.credit.grants.send") as send, django_capture_on_commit_callbacks(execute=True):  # type: ignore[operator]
            self.grant(tenant, 20)
        send.assert_called_once_with(task="billing.watch_one", tenant_id=str(tenant.id))

    def test_a_plan_that_is_not_prepaid_is_not_held_for_want_of_credit(self, tenant: Tenant) -> None:
        watch(at=hour(10))
        assert not may_grow(tenant)
        Subscription.objects.all().delete()
        watch(at=hour(10))
        assert may_grow(tenant)

    def test_where_prepaid_is_the_default_everybody_without_another_plan_is_watched(self, tenant: Tenant) -> None:
        other = tenant_that_spends()
        assert watched_tenants(at=hour(1)) == [tenant.id]
        Subscription.objects.all().delete()
        assert watched_tenants(at=hour(1)) == []
        Plan.objects.update(is_default=False)
        Plan.objects.filter(code="prepaid").update(is_default=True)
        assert set(watched_tenants(at=hour(1))) == {tenant.id, other.id}


class TestTheRound:
    def test_tenants_without_budgets_are_not_looked_at(self, tenant: Tenant) -> None:
        assert watched_tenants(at=hour(1)) == []
        budget(tenant, 20)
        assert watched_tenants(at=hour(1)) == [tenant.id]
        Tenant.objects.update(deleted_at=hour(1))
        assert watched_tenants(at=hour(1)) == []

    def test_one_broken_tenant_does_not_stop_the_others(self, tenant: Tenant) -> None:
        others = [tenant_that_spends(), tenant_that_spends()]
        for each in (tenant, *others):
            budget(each, 20, (100, "block"))
        broken = min(each.id for each in (tenant, *others))

        def broken_spend(**arguments: object) -> object:
            account = arguments["account"]
            assert isinstance(account, Account)
            if account.tenant_id == broken:
                raise ZeroDivisionError
            return spend_of(**arguments)  # type: ignore[arg-type]

        with patch.object(watching, "spend_of", broken_spend):
            watch(at=hour(10))
        held: set[UUID] = set(Hold.objects.values_list("tenant_id", flat=True))
        assert held == {each.id for each in (tenant, *others)} - {broken}

    def test_the_task_hands_every_watched_tenant_to_a_task_of_a_few(self, tenant: Tenant) -> None:
        others = [tenant_that_spends() for _ in range(2)]
        for each in (tenant, *others):
            budget(each, 20, (100, "block"))
        asked: list[list[str]] = []
        with (
            patch.object(watching, "TOGETHER", 2),
            patch.object(tasks.watch_some, "apply_async", lambda *, kwargs, expires: asked.append(kwargs["tenant_ids"])),
        ):
            tasks.watch_budgets()
        assert [len(each) for each in asked] == [2, 1]
        with at(hour(10)):
            for tenant_ids in asked:
                tasks.watch_some(tenant_ids=tenant_ids)
        assert Hold.objects.count() == 3


class Recorder(BudgetAction):
    """A plug-in of the tests."""

    title = "Record"
    seen: ClassVar[list[Standing]] = []

    def act(self, *, standing: Standing) -> None:
        self.seen.append(standing)

    def holds(self, *, standing: Standing) -> str:
        return f"Recorded at {standing.percent} %."


def test_an_action_is_a_class_and_a_line(tenant: Tenant) -> None:
    Recorder.seen.clear()
    with patch.dict(actions.ACTIONS, {"record": f"{__name__}.Recorder"}):
        budget(tenant, 20, (50, "record"), (60, "record"))
        watch(at=hour(7))
        watch(at=hour(8))
        (standing,) = Recorder.seen
        assert (standing.percent, standing.share) == (60, 70)
        assert standing.spent == 14
        with pytest.raises(Conflict, match="Recorded at 60 %"):
            ask_for_a_bay(tenant)
    watch(at=hour(9))
    assert may_grow(tenant), "a plug-in that was taken out holds nothing any more"
