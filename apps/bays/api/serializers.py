"""How bays and all that belongs to them look in JSON. They render and describe; what comes in is checked by `bays.spec` alone."""

from dataclasses import asdict
from decimal import Decimal
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.bays.access import notices_of
from apps.bays.models import Bay, Host
from apps.hosts.models import Cloud
from apps.operations.codes import code_named
from apps.operations.models import Event, Operation
from apps.operations.states import State

TAGS = "at most 20 keys of 1 to 63 letters, digits and - _ . : / with values of at most 128 printable characters."


class Amount(serializers.DecimalField):
    """Money: as text, with the decimals the amount has (those of its currency, or more for prices of an hour)."""

    def __init__(self, **options: Any) -> None:
        super().__init__(max_digits=18, decimal_places=8, **options)

    def quantize(self, value: Decimal) -> Decimal:
        """Return the amount as it is."""
        return value


class ReasonSerializer(serializers.Serializer[Any]):
    """Why something is not well, whether the user can mend it, and how."""

    code = serializers.CharField()
    message = serializers.CharField()
    user_can_fix = serializers.BooleanField()
    advice = serializers.CharField()


class PhaseSerializer(serializers.Serializer[Any]):
    """A named part of an operation."""

    name = serializers.CharField()
    title = serializers.CharField()
    state = serializers.CharField(help_text="pending, running or done.")
    started_at = serializers.DateTimeField(allow_null=True)
    seconds = serializers.FloatField(allow_null=True, help_text="How long it took; null until it is done.")
    detail = serializers.CharField(allow_blank=True)


class NoticeSerializer(serializers.Serializer[Any]):
    """What users of the bay must know about the cloud it is on, and what to do instead."""

    code = serializers.CharField()
    title = serializers.CharField()
    text = serializers.CharField()
    instead = serializers.CharField()


class BayOperationSerializer(serializers.ModelSerializer[Operation]):
    """The newest operation, as a bay shows it."""

    kind = serializers.CharField(help_text="bay.create, bay.resize, bay.heal, bay.rotate_ca or bay.delete.")
    progress = serializers.IntegerField(min_value=0, max_value=100, help_text="Percent; never goes back.")
    phases = PhaseSerializer(many=True)

    class Meta:
        model = Operation
        fields = ("id", "kind", "state", "progress", "phase", "phases")


class OperationSerializer(BayOperationSerializer):
    """One requested change of a bay and its progress."""

    reason = serializers.SerializerMethodField(help_text="What it waits for, or why it failed; null when all is well.")

    class Meta:
        model = Operation
        fields = (*BayOperationSerializer.Meta.fields, "reason", "requested_by", "attempts", "created_at", "started_at", "finished_at")

    @extend_schema_field(ReasonSerializer(allow_null=True))
    def get_reason(self, operation: Operation) -> dict[str, Any] | None:
        """Return code, sentence and advice."""
        shown = operation.state in {State.WAITING, State.FAILED, State.CANCELLED}
        return reason(code=operation.code, message=operation.message) if shown else None


class BaySerializer(serializers.ModelSerializer[Bay]):
    """A bay."""

    cloud: "serializers.SlugRelatedField[Cloud]" = serializers.SlugRelatedField(slug_field="name", read_only=True)
    flavor = serializers.CharField(source="flavor.name")
    host_kind = serializers.CharField(source="flavor.host_kind", help_text="container, vm or baremetal.")
    node_count = serializers.IntegerField(help_text="Hosts it shall have, managers included.")
    manager_count = serializers.IntegerField()
    status = serializers.CharField(help_text="creating, active, updating, deleting or error.")
    status_reason = serializers.SerializerMethodField(help_text="Why it is not well; null when it is.")
    endpoint = serializers.SerializerMethodField(help_text="Where native clients connect; null until it is known.")
    price_per_hour = Amount(source="price.per_hour", allow_null=True, help_text="Of all its hosts; null where they have no price.")
    currency = serializers.CharField(source="price.currency", help_text="The tenant's currency.")
    tags = serializers.DictField(child=serializers.CharField(), help_text="Keys and values of your choice.")
    operation = BayOperationSerializer(allow_null=True)
    notices = serializers.SerializerMethodField()

    class Meta:
        model = Bay
        fields = (
            "id", "name", "coe", "coe_version", "cloud", "flavor", "host_kind", "node_count", "manager_count", "status", "health",
            "status_reason", "endpoint", "price_per_hour", "currency", "tags", "created_at", "updated_at", "expires_at", "operation",
            "notices",
        )  # fmt: skip

    @extend_schema_field(ReasonSerializer(allow_null=True))
    def get_status_reason(self, bay: Bay) -> dict[str, Any] | None:
        """Return code, sentence and advice."""
        code, message = bay.reason
        return reason(code=code, message=message)

    def get_endpoint(self, bay: Bay) -> str | None:
        """Return the address, such as tcp://10.1.2.10:2376."""
        return bay.endpoint or None

    @extend_schema_field(NoticeSerializer(many=True))
    def get_notices(self, bay: Bay) -> list[dict[str, str]]:
        """Return the notices of its cloud."""
        return [asdict(notice) for notice in notices_of(bay=bay)]


class HostSerializer(serializers.ModelSerializer[Host]):
    """One machine of a bay."""

    name = serializers.CharField(source="hostname")
    number = serializers.IntegerField(source="index")
    role = serializers.CharField(help_text="manager or worker.")
    state = serializers.CharField(help_text="planned, started, ready, lost or draining.")
    published = serializers.SerializerMethodField(
        help_text="address:port on which it is reached from other machines; null if it is not published."
    )

    class Meta:
        model = Host
        fields = ("id", "name", "number", "role", "address", "published", "state", "detail", "node_id", "created_at", "ready_at", "seen_at")

    def get_published(self, host: Host) -> str | None:
        """Return the public address of its engine."""
        return f"{host.published_address}:{host.published_port}" if host.published_address else None


class EventSerializer(serializers.ModelSerializer[Event]):
    """Something that happened to a bay."""

    operation: "serializers.PrimaryKeyRelatedField[Operation]" = serializers.PrimaryKeyRelatedField(read_only=True)

    class Meta:
        model = Event
        fields = ("id", "at", "level", "code", "message", "data", "operation")


class UsageSerializer(serializers.Serializer[Any]):
    """One limit of a tenant, and what the change would use of it."""

    name = serializers.CharField(help_text="bays, hosts, vcpus, memory_mib or disk_gib.")
    unit = serializers.CharField(help_text="bays, hosts, vCPUs, MiB or GiB.")
    used = serializers.IntegerField(help_text="Used now.")
    asked = serializers.IntegerField(help_text="Asked for on top.")
    after = serializers.IntegerField(help_text="Used once the change is made.")
    limit = serializers.IntegerField()


class FigureSerializer(serializers.Serializer[Any]):
    """An amount, what it is, and a sentence about it."""

    label = serializers.CharField()  # type: ignore[assignment]  # hides nothing: declared fields are taken off the class
    amount = Amount()
    sentence = serializers.CharField(allow_blank=True)


class EstimateSerializer(serializers.Serializer[Any]):
    """What a bay would cost and use, and whether it would be accepted. Prices are null where its hosts have none in the currency."""

    accepted = serializers.SerializerMethodField()
    refusal = serializers.CharField(
        allow_blank=True, help_text="The sentence with which it would be refused; empty if it would be accepted."
    )
    currency = serializers.CharField()
    price_per_hour = Amount(allow_null=True, help_text="As the price list says.")
    price_per_month = Amount(
        allow_null=True,
        help_text="By how much a whole month's invoice is higher with it, after what your plan changes, before promotions and tax.",
    )
    month = serializers.CharField(source="month.code", help_text="The month of your calendar that is meant, such as 2026-12.")
    hours_per_month = serializers.FloatField(source="month.hours", help_text="Its hours.")
    change_per_hour = Amount(source="quote.change_per_hour", allow_null=True, help_text="Compared with now; negative if cheaper.")
    change_per_month = Amount(source="quote.change_per_month", allow_null=True, help_text="Compared with now.")
    adjustments = FigureSerializer(
        source="quote.figures", many=True, help_text="What lies between the price per hour times the hours, and the price per month."
    )
    remaining = FigureSerializer(many=True, help_text="What is left of budgets and credit now; empty without billing:read.")
    node_count = serializers.IntegerField()
    vcpus = serializers.IntegerField()
    memory_mib = serializers.IntegerField()
    disk_gib = serializers.IntegerField()
    usage = UsageSerializer(many=True)
    cloud = serializers.CharField(allow_blank=True, help_text="Where its hosts would come from.")
    room = serializers.IntegerField(help_text="How many hosts of this flavor there is room for on that cloud.")

    def get_accepted(self, estimate: Any) -> bool:
        """Tell whether the change itself would be accepted now."""
        return not estimate.refusal


class CreateBaySerializer(serializers.Serializer[Any]):
    """The description of a bay to be made."""

    name = serializers.CharField(max_length=40, help_text="Lower-case letters, digits and hyphens, starting with a letter.")
    coe = serializers.CharField(help_text="A name of /api/v1/coes.")
    flavor = serializers.CharField(help_text="A name of /api/v1/flavors.")
    node_count = serializers.IntegerField(min_value=1, default=1, help_text="Hosts, managers included.")
    manager_count = serializers.IntegerField(required=False, help_text="1, 3 or 5; 1 unless asked otherwise.")
    cloud = serializers.CharField(required=False, help_text="A name of /api/v1/clouds; unless given, wherever there is room.")
    coe_version = serializers.CharField(required=False, help_text="A version of the COE; its default unless given.")
    ttl = serializers.IntegerField(required=False, help_text="Seconds after which the bay is deleted by itself, 600 to 31536000.")
    tags = serializers.DictField(child=serializers.CharField(allow_blank=True, max_length=128), required=False, help_text=TAGS)


class ChangeBaySerializer(serializers.Serializer[Any]):
    """A change of a bay: one of the three."""

    node_count = serializers.IntegerField(required=False, min_value=1, help_text="Hosts it shall have, managers included.")
    name = serializers.CharField(required=False, max_length=40)
    tags = serializers.DictField(
        child=serializers.CharField(allow_blank=True, max_length=128), required=False, help_text=f"All of them: {TAGS}"
    )


class ResizeSerializer(serializers.Serializer[Any]):
    """Another number of hosts."""

    node_count = serializers.IntegerField(min_value=1, help_text="Hosts it would have, managers included.")


def reason(*, code: str, message: str) -> dict[str, Any] | None:
    """Return the JSON of a reason, or None for an empty code."""
    if not code:
        return None
    words = code_named(code=code)
    return {"code": code, "message": message or words.title, "user_can_fix": words.user_can_fix, "advice": words.advice}
