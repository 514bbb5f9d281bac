import pytest

from apps.common.errors import InvalidInput
from apps.common.names import MAX_LENGTH, RESERVED, check_name


@pytest.mark.parametrize("name", ["a", "web", "web-1", "a1", "swift-canopus", "a" * MAX_LENGTH, "x--y"])
def test_a_label_of_lower_case_letters_digits_and_hyphens_is_a_name(name: str) -> None:
    assert check_name(name=name) == name


@pytest.mark.parametrize(
    "name",
    [
        "Web", "WEB", "1web", "-web", "web-", "web_1", "web.1", "we b", " web", "web ", "web\n", "\tweb", "web\x00",
        "../etc", "a/b", "a\\b", "$(id)", "`id`",
        "w\u0435b", "\uff57eb", "we\u200bb", "web\u202e", "w\u00e9b", "we\u0301b",
        "\u13b3eb", "\U0001f600", "ｗｅｂ", "web\u00a0", "I\u0307stanbul",
    ],
)  # fmt: skip
def test_anything_that_is_or_looks_like_something_else_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        check_name(name=name)
    assert refusal.value.code == "name_characters"
    assert refusal.value.errors == {"name": refusal.value.detail}


def test_an_empty_name_is_refused_with_the_rule() -> None:
    with pytest.raises(InvalidInput, match="lower-case letters") as refusal:
        check_name(name="")
    assert refusal.value.code == "name_empty"


def test_a_name_that_is_too_long_is_refused_with_its_length() -> None:
    with pytest.raises(InvalidInput, match=f"{MAX_LENGTH + 1} characters; at most {MAX_LENGTH}") as refusal:
        check_name(name="a" * (MAX_LENGTH + 1))
    assert refusal.value.code == "name_too_long"


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_words_that_addresses_and_systems_use_are_reserved(name: str) -> None:
    with pytest.raises(InvalidInput, match="reserved") as refusal:
        check_name(name=name)
    assert refusal.value.code == "name_reserved"


def test_the_field_at_fault_is_the_one_that_was_asked() -> None:
    with pytest.raises(InvalidInput) as refusal:
        check_name(name="", field="slug")
    assert list(refusal.value.errors) == ["slug"]
