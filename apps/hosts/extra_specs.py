"""Whether a flavor fits an aggregate: the rule of Nova's AggregateInstanceExtraSpecsFilter, so that operators need to learn only one.

Every extra spec without a scope, or scoped `aggregate_instance_extra_specs:`, must be met by the aggregate's metadata; other scopes
are not for us. Operators: https://docs.openstack.org/nova/latest/admin/scheduling.html and oslo.utils specs_matcher.
"""

import operator
from collections.abc import Callable, Mapping

SCOPE = "aggregate_instance_extra_specs"
_NUMBERS: dict[str, Callable[[float, float], bool]] = {
    "=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    "<=": operator.le,
}
_TEXTS: dict[str, Callable[[str, str], bool]] = {
    "s==": operator.eq,
    "s!=": operator.ne,
    "s<": operator.lt,
    "s<=": operator.le,
    "s>": operator.gt,
    "s>=": operator.ge,
}


def asked_of_aggregates(*, extra_specs: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return what an aggregate must meet, keys without scope: a key may be asked for with and without. If nothing, any will do."""
    return [(key.removeprefix(f"{SCOPE}:"), wanted) for key, wanted in extra_specs.items() if ":" not in key or key.startswith(f"{SCOPE}:")]


def unmet_specs(*, extra_specs: Mapping[str, str], metadata: Mapping[str, str]) -> list[str]:
    """Return the keys of `extra_specs` that `metadata` does not meet, without scope; an empty list means it fits."""
    unmet = []
    for key, wanted in asked_of_aggregates(extra_specs=extra_specs):
        # Nova keeps one key of several aggregates as a set; operators write the same as a comma-separated list.
        offered = [value.strip() for value in metadata.get(key, "").split(",")] if key in metadata else []
        if not any(_matches(offered=value, wanted=wanted) for value in offered):
            unmet.append(key)
    return unmet


def _matches(*, offered: str, wanted: str) -> bool:
    word, *arguments = wanted.split() or [""]
    match word:
        case "<or>":
            return offered in [argument for argument in arguments if argument != "<or>"]
        case "<in>":
            return bool(arguments) and arguments[0] in offered
        case "<all-in>":
            return all(argument in offered for argument in arguments)
    if word in _TEXTS and arguments:
        return _TEXTS[word](offered, arguments[0])
    if word in _NUMBERS and arguments:
        try:
            return _NUMBERS[word](float(offered), float(arguments[0]))
        except ValueError:
            return False
    return offered == wanted
