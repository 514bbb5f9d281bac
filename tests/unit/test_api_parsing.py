import pytest

from apps.common.api.parsing import loads
from apps.common.api.problems import BadRequest


def refusal_of(raw: bytes) -> BadRequest:
    with pytest.raises(BadRequest) as refusal:
        loads(raw=raw)
    assert refusal.value.detail.endswith(".")
    assert len(refusal.value.detail) < 200
    return refusal.value


def test_json_is_read_as_it_stands() -> None:
    assert loads(raw=b'{"name": "web", "counts": [1, 2.5, true, null], "text": "\\u00e9"}') == {
        "name": "web",
        "counts": [1, 2.5, True, None],
        "text": "é",
    }


@pytest.mark.parametrize("raw", [b"", b"{", b"{'name': 1}", b'{"a": 1,}', b"nonsense", b'{"a": 01}', b"{}{}", b'{"a": "\n"}'])
def test_broken_json_is_refused_with_the_place(raw: bytes) -> None:
    refusal = refusal_of(raw)
    assert refusal.code == "broken_json"
    assert "line " in refusal.detail
    assert "column " in refusal.detail


@pytest.mark.parametrize("raw", [b'{"a": NaN}', b'{"a": Infinity}', b'{"a": -Infinity}'])
def test_numbers_that_json_does_not_have_are_refused(raw: bytes) -> None:
    assert refusal_of(raw).code == "broken_json"


def test_a_name_that_stands_twice_is_refused() -> None:
    assert "twice" in refusal_of(b'{"name": "a", "name": "b"}').detail


def test_a_number_of_thousands_of_digits_is_refused() -> None:
    assert "digits" in refusal_of(b'{"node_count": ' + b"9" * 5000 + b"}").detail


def test_nesting_without_end_is_refused() -> None:
    assert "deeply" in refusal_of(b"[" * 60_000).detail


def test_bytes_that_are_not_utf8_are_refused() -> None:
    assert refusal_of(b'{"name": "\xff\xfe"}').code == "body_not_utf8"


@pytest.mark.parametrize("raw", [b'{"a": "\\u0000"}', b'{"\\u0000": 1}', b'{"a": ["\\ud800"]}', b'{"a": {"b": "x\\udfff"}}'])
def test_text_no_database_can_hold_is_refused_wherever_it_stands(raw: bytes) -> None:
    assert refusal_of(raw).code == "text_not_unicode"


def test_a_whole_surrogate_pair_is_text() -> None:
    assert loads(raw=b'{"a": "\\ud83d\\ude00"}') == {"a": "😀"}
