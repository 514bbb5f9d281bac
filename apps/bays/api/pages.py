"""The shape of a list's answer, for the schema."""

from typing import Any

from drf_spectacular.utils import inline_serializer
from rest_framework import serializers


def page_of(item: type[serializers.BaseSerializer[Any]]) -> serializers.BaseSerializer[Any]:
    """Return the description of a page of `item`."""
    name = item.__name__.removesuffix("Serializer")
    next_page = serializers.URLField(allow_null=True, help_text="Address of the next page; null on the last one.")
    page: serializers.BaseSerializer[Any] = inline_serializer(name=f"{name}Page", fields={"results": item(many=True), "next": next_page})
    return page
