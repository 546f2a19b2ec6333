"""What the keys of a config file may hold, and what was probably meant by one that nothing reads."""

from collections.abc import Iterable
from difflib import get_close_matches
from enum import Enum
from typing import Any, get_args

import typer

from booking_migrate.domain.contract import Contract

_SAMPLE_CURRENCIES = ("INR", "USD")


def near(name: str, known: Iterable[str]) -> str:
    """Return the known name that is nearest to one, or an empty string."""
    return next(iter(get_close_matches(name.replace("-", "_"), list(known), n=1)), "")


def problem_of(ctx: typer.Context, key: str, value: Any, parameter: Any) -> str:
    """Return what is wrong with an option's value, and what is right; empty if it can be used.

    The value is converted again where it is used.
    """
    wanted = _expected(parameter)
    shown = key if key == "uri" else f"{key} is {_shown(value)}"
    if not _has_type(value, parameter):
        return f"{shown}, and must be {wanted}"
    try:
        parameter.process_value(ctx, value)
    except typer.BadParameter as error:
        # An option with a reader of its own says best what it takes.
        is_read = parameter.type_descriptor.parameter_info.parser is not None
        return f"{key}: {error.message.removesuffix('.')}" if is_read else f"{shown}, and must be {wanted}"
    return ""


def _has_type(value: Any, parameter: Any) -> bool:
    if parameter.multiple:
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    if parameter.is_flag:
        return isinstance(value, bool)
    if parameter.type_descriptor.annotation is float:
        return type(value) in (str, int, float)
    return type(value) in (str, int)


def _expected(parameter: Any) -> str:
    """Return what an option takes, for people."""
    kind = parameter.type_descriptor.annotation
    if parameter.multiple:
        return "a list of strings"
    if parameter.is_flag:
        return "true or false"
    if isinstance(kind, type) and issubclass(kind, Enum):
        return f"one of {', '.join(_shown(each.value) for each in kind)}"
    if kind not in (int, float) or parameter.type_descriptor.parameter_info.parser is not None:
        return "a string" if kind is not int else "a string or a whole number"
    number = "a whole number" if kind is int else "a number"
    bounds = "" if parameter.min is None else f", at least {parameter.min:g}"
    return f"{number}{bounds}" if parameter.max is None else f"{number}{bounds} and at most {parameter.max:g}"


def contract_problem(key: str, value: Any) -> str:
    """Return what is wrong with a value of the contract, and what is right."""
    field = Contract.model_fields[key]
    default = field.default
    if isinstance(default, int | float) and not isinstance(default, bool):
        whole = "whole " if int in (field.annotation, *get_args(field.annotation)) else ""
        wanted = f"a {whole}number such as {default:g}"
    else:
        sample = _SAMPLE_CURRENCIES if default is None else default
        wanted = f"a list of strings such as {_shown(list(sample))}"
    return f"{key} is {_shown(value)}, and must be {wanted}: {field.description}"


def _shown(value: Any) -> str:
    """Return a value as TOML has it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(_shown, value))}]"
    return f'"{value}"' if isinstance(value, str) else str(value)
