"""Template tags of the portal's pages: icons, money, sizes, moments, fields of forms, and the REST equivalent of a page."""

import re
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any

from django import template
from django.conf import settings
from django.forms import BoundField, CheckboxInput, Select
from django.http import HttpRequest
from django.utils.formats import date_format
from django.utils.html import conditional_escape, format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from apps.bays.connecting import curl
from apps.bays.limit_rows import LimitRow, limit_rows
from apps.bays.models import Bay, Host
from apps.bays.presenters import Look, look_of_bay, look_of_host
from apps.bays.usage import Usage
from apps.common.clock import now
from apps.common.money import in_words
from apps.tenants.context import Access
from apps.tenants.roles import Permission

register = template.Library()
ICONS = settings.BASE_DIR / "static" / "vendor" / "tabler-icons-3.51.0"
MINUTE, HOUR, DAY = 60, 3600, 86400


@register.simple_tag
def icon(name: str, extra: str = "") -> SafeString:
    """Return the Tabler icon `name` as inline SVG, invisible to screen readers: words stand beside it."""
    return format_html('<svg class="ico {}" viewBox="0 0 24 24" aria-hidden="true" focusable="false">{}</svg>', extra, _shapes(name))


@cache
def _shapes(name: str) -> SafeString:
    drawing = (ICONS / f"{name}.svg").read_text()
    shapes = re.findall(r"<(?:path|circle|rect|line|polyline|ellipse)[^>]*?/>", drawing)
    return mark_safe("".join(shape for shape in shapes if 'stroke="none"' not in shape))  # noqa: S308 - our own files


@register.filter
def money(amount: Decimal | str | int | None, currency: str = "") -> str:
    """Return an amount as people read it, in its currency, which is the portal's unless one is named; a dash where there is none."""
    return in_words(amount=Decimal(amount), currency=currency or settings.CURRENCY) if amount is not None else "–"


@register.filter
def change(amount: Decimal | None, currency: str = "") -> str:
    """Return by how much something changes, as money with its sign."""
    return f"+{money(amount, currency)}" if amount is not None and amount > 0 else money(amount, currency)


@register.filter
def memory(mib: int) -> str:
    """Return MiB as people read it."""
    return f"{mib / 1024:g} GiB" if mib >= 1024 else f"{mib} MiB"  # noqa: PLR2004 - a GiB


@register.filter
def seconds(value: float | None) -> str:
    """Return a duration with the precision a person cares for."""
    if value is None:
        return ""
    if value < 10:  # noqa: PLR2004
        return f"{value:.1f} s"
    if value < 2 * MINUTE:
        return f"{value:.0f} s"
    return f"{value // MINUTE:.0f} min {value % MINUTE:.0f} s"


@register.simple_tag
def moment(at: datetime | None, style: str = "ago") -> SafeString | str:
    """Return a moment as `ago` ("5 min ago"), `until` ("in 3 days") or `date`, with the exact time on hover and for machines."""
    if at is None:
        return "–"
    ago = _("just now") if now() - at < timedelta(seconds=2) else _("%s ago") % _span(now() - at)
    texts = {"ago": ago, "until": _("in %s") % _span(at - now()), "age": _span(now() - at)}
    text = texts.get(style) or date_format(at, "j M Y")
    return format_html('<time datetime="{}" title="{}">{}</time>', at.isoformat(), f"{at:%Y-%m-%d %H:%M:%S} UTC", text)


def _span(delta: Any) -> str:
    total = max(0, int(delta.total_seconds()))
    if total < MINUTE:
        return _("%d s") % total
    if total < HOUR:
        return _("%d min") % (total // MINUTE)
    if total < 2 * DAY:
        return _("%d h") % (total // HOUR)
    days = round(total / DAY)
    return ngettext("%d day", "%d days", days) % days


@register.inclusion_tag("ui/status.html")
def status(thing: Bay | Host) -> dict[str, Look]:
    """Show the state of a bay or host by word, icon and colour."""
    return {"look": look_of_bay(bay=thing) if isinstance(thing, Bay) else look_of_host(host=thing)}


@register.inclusion_tag("ui/post_button.html")
def post_button(
    action: str, label: str, *, look: str = "", icon: str = "", name: str = "", about: str = "", form_class: str = "", **hidden: Any
) -> dict[str, Any]:
    """Show a form of one button that posts to `action`, with `hidden` fields, of which those without a value are left out.

    Where several buttons have one label, `name` is what each is called aloud instead, or `about` what is said behind the label.
    """
    if not action:  # `{% url … as action %}` is silent about a page that is not there, and the form would post to where it stands
        raise ValueError(f"The button “{label}” has no address to post to.")
    return {
        "action": action, "label": label, "look": look, "sign": icon, "name": name, "about": about, "form_class": form_class,
        "hidden": {key: value for key, value in hidden.items() if value is not None and value != ""},
    }  # fmt: skip


@register.inclusion_tag("ui/field.html")
def field(bound: BoundField, hint: str = "", label: str = "", autofocus: str = "") -> dict[str, Any]:
    """Show a form field with its label, hint and errors, tied together for screen readers."""
    widget = bound.field.widget
    attributes: dict[str, Any] = {"class": _css_class(widget)}
    described = [f"{bound.auto_id}_hint"] if hint or bound.help_text else []
    if bound.errors:
        attributes["class"] += " is-invalid"
        attributes["aria-invalid"] = "true"
        described.append(f"{bound.auto_id}_error")
    if described:
        attributes["aria-describedby"] = " ".join(described)
    if autofocus:
        attributes["autofocus"] = True
    widget.attrs.pop("placeholder", None)
    return {
        "bound": bound, "control": bound.as_widget(attrs=attributes), "hint": hint or bound.help_text, "label": label or bound.label,
        "is_check": isinstance(widget, CheckboxInput),
    }  # fmt: skip


def _css_class(widget: object) -> str:
    if isinstance(widget, CheckboxInput):
        return "form-check-input"
    return "form-select" if isinstance(widget, Select) else "form-control"


@register.filter
def may(access: Access, permission: str) -> bool:
    """Tell whether the asker may do it, to leave out what they would be refused."""
    return access.may(Permission(permission))


@register.simple_tag(takes_context=True)
def rest(context: dict[str, Any], method: str, path: str, output: str = "", **body: Any) -> str:
    """Return the curl command for `path` below `/api/v1`; keyword arguments become the JSON body."""
    request: HttpRequest = context["request"]
    return curl(method=method, url=request.build_absolute_uri(f"/api/v1{path}"), body=body or None, output=output)


@register.filter
def as_limits(usage: list[Usage]) -> list[LimitRow]:
    """Return a tenant's limits as rows to show."""
    return limit_rows(usage=usage)


@register.filter
def marks(count: int) -> list[bool]:
    """Return three dots, `count` of them full."""
    return [number < count for number in range(3)]


@register.filter
def backticks(text: str) -> SafeString:
    """Return text in which what stands between backticks is set as code."""
    pieces = enumerate(text.split("`"))
    parts = [format_html("<code>{}</code>", piece) if number % 2 else conditional_escape(piece) for number, piece in pieces]
    return mark_safe("".join(parts))  # noqa: S308 - every part is escaped


@register.filter
def newlines(text: str) -> str:
    r"""Return text with real line ends in place of `\n`, which a template cannot write into an argument."""
    return text.replace("\\n", "\n")
