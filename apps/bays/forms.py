from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from apps.bays.spec import BaySpec, parse_spec
from apps.bays.tags import tags_of_text
from apps.coes.base import all_coes
from apps.common.errors import CarinaError
from apps.common.pages import DomainForm
from apps.hosts.models import Cloud
from apps.hosts.placement import usable_clouds

NOT_A_NUMBER = {
    "invalid": _("Write the number of hosts as a whole number, such as 3."),
    "required": _("Write how many hosts you want, such as 1."),
}
PLAIN = {"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}
"""Attributes of inputs whose text is a name or code: browsers shall leave it as it is typed."""
LIFETIMES = [
    ("", _("Until you delete it")),
    *(
        (str(int(span.total_seconds())), label)
        for span, label in (
            (timedelta(hours=1), _("1 hour")),
            (timedelta(hours=4), _("4 hours")),
            (timedelta(hours=12), _("12 hours")),
            (timedelta(days=1), _("1 day")),
            (timedelta(days=7), _("7 days")),
            (timedelta(days=30), _("30 days")),
        )
    ),
]


def _count_field(**extra: Any) -> forms.IntegerField:
    widget = forms.NumberInput(attrs={"min": 1, "inputmode": "numeric", "autocomplete": "off"})
    return forms.IntegerField(label=_("Hosts"), error_messages=NOT_A_NUMBER, widget=widget, **extra)


def _tags_field() -> forms.CharField:
    return forms.CharField(label=_("Tags"), required=False, widget=forms.TextInput(attrs=PLAIN))


def cloud_choices(*, clouds: Sequence[Cloud]) -> list[tuple[str, str] | tuple[str, list[tuple[str, str]]]]:
    """Return the choices of clouds: one with several regions is a group of them, any other a choice by itself, in the order given."""
    by_group: dict[str, list[Cloud]] = {}
    for cloud in clouds:
        by_group.setdefault(cloud.settings.get("group", "") or f"\0{cloud.name}", []).append(cloud)
    choices: list[tuple[str, str] | tuple[str, list[tuple[str, str]]]] = []
    for group, members in by_group.items():
        if len(members) > 1:
            choices.append((group, [(cloud.name, cloud.region or cloud.title) for cloud in members]))
        else:
            choices.append((members[0].name, members[0].title))
    return choices


class CreateForm(DomainForm):
    """What a person asks for in a new bay. `coe` and `flavor` are drawn as cards and as a table, so their choices stand in the template."""

    name = forms.CharField(
        label=_("Name"),
        required=False,
        widget=forms.TextInput(attrs=PLAIN),
    )
    coe = forms.CharField(error_messages={"required": _("Choose an orchestrator.")})
    flavor = forms.CharField(error_messages={"required": _("Choose the kind and size of the hosts.")})
    node_count = _count_field()
    manager_count = forms.TypedChoiceField(label=_("Managers"), coerce=int, empty_value=None, required=False)
    ttl = forms.TypedChoiceField(label=_("Keep it"), choices=LIFETIMES, coerce=int, empty_value=None, required=False)
    cloud = forms.ChoiceField(label=_("Cloud"), required=False)

    tags = _tags_field()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.coes = all_coes()
        counts = sorted({count for coe in self.coes for count in coe.manager_counts})
        self.fields["manager_count"].choices = [(str(count), str(count)) for count in counts]  # type: ignore[attr-defined]
        clouds = usable_clouds()
        self.several_clouds = len(clouds) > 1
        self.fields["cloud"].choices = [("", _("Wherever there is room")), *cloud_choices(clouds=clouds)]  # type: ignore[attr-defined]

    def spec(self) -> BaySpec | None:
        """Return the spec that was asked for, or None with the refusals shown at the fields."""
        typed = self.as_typed() if self.is_valid() else None
        if typed is None:
            return None
        try:
            if "tags" in typed:
                typed["tags"] = tags_of_text(text=typed["tags"])
            return parse_spec(data=typed)
        except CarinaError as error:
            self.blame(error)
            return None


class ResizeForm(DomainForm):
    """How many hosts a bay shall have."""

    node_count = _count_field()


class RenameForm(DomainForm):
    """Another name for a bay."""

    name = forms.CharField(label=_("Name"), required=False, widget=forms.TextInput(attrs=PLAIN))


class TagsForm(DomainForm):
    """Other tags for a bay, all of them."""

    tags = _tags_field()

    def typed_tags(self) -> dict[str, str] | None:
        """Return the tags that were typed, or None with the refusal shown at the field."""
        if not self.is_valid():
            return None
        try:
            return tags_of_text(text=self.cleaned_data["tags"])
        except CarinaError as error:
            self.blame(error)
            return None


class DeleteForm(DomainForm):
    """The name of the bay, typed by hand, as the proof that this one is meant."""

    confirm = forms.CharField(
        label=_("Type the name of the bay to confirm"),
        required=False,
        widget=forms.TextInput(attrs=PLAIN),
    )

    def __init__(self, *args: Any, bay_name: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.bay_name = bay_name

    def clean_confirm(self) -> str:
        """Return the typed name if it is the bay's."""
        typed = str(self.cleaned_data["confirm"]).strip()
        if typed != self.bay_name:
            raise forms.ValidationError(_("This is not the name of the bay; type “%(name)s” to delete it."), params={"name": self.bay_name})
        return typed


class CertificateForm(DomainForm):
    """A certificate signing request, so that the key stays with its owner."""

    csr = forms.CharField(
        label=_("Certificate signing request (PEM)"),
        required=False,
        widget=forms.Textarea(attrs={**PLAIN, "rows": 6}),
    )
    label = forms.CharField(label=_("What it is for"), required=False)
