"""The pieces that pages are made of."""

import pytest
from django.template import engines
from django.test.html import parse_html

from apps.common.errors import CarinaError, Conflict, Forbidden, NotFound
from apps.common.pages import DomainForm, refusals_at


def show(tag: str, **values: object) -> str:
    template = engines["django"].from_string("{% load carina %}" + tag)
    text: str = template.render({"csrf_token": "abc", **values})
    return text


def test_a_button_posts_with_its_token_its_hidden_fields_and_its_name() -> None:
    shown = show(
        '{% post_button to _("Go") look="btn-sm" name=who from="here" page=nothing %}', to="/there", who='a "b" & <c>', nothing=None
    )
    expected = (
        '<form method="post" action="/there"><input type="hidden" name="csrfmiddlewaretoken" value="abc">'
        '<input type="hidden" name="from" value="here">'
        '<button class="btn btn-sm" type="submit" aria-label="a &quot;b&quot; &amp; &lt;c&gt;">Go</button></form>'
    )
    assert parse_html(shown.strip()) == parse_html(expected)


def test_a_button_without_an_address_is_a_mistake_and_not_a_post_to_the_same_page() -> None:
    with pytest.raises(ValueError, match="no address"):
        show("{% url 'no-such-page' as to %}{% post_button to _(\"Go\") %}")


def test_what_is_refused_stands_at_the_form_and_what_is_about_the_whole_page_goes_on() -> None:
    form = DomainForm({})
    with refusals_at(form):
        raise Conflict("It is taken.")
    assert form.non_field_errors() == ["It is taken."]
    through: tuple[CarinaError, ...] = (NotFound("There is none."), Forbidden("You may not."))
    for error in through:
        with pytest.raises(type(error)), refusals_at(form):
            raise error
    with pytest.raises(ZeroDivisionError), refusals_at(form):
        raise ZeroDivisionError
