"""Dataclasses as groups of command-line options.

A command takes the context, its arguments, and one parameter per group. Typer, which reads signatures, is shown one
parameter per field instead: the field's name, its type, its default and the `option` that it is.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import field, fields
from typing import Annotated, Any, ClassVar, get_args, get_origin, get_type_hints

import typer

_NAMED = "named"


def option(
    default: Any,
    text: str,
    *,
    panel: str | None = None,
    flag: str | None = None,
    negatable: bool = False,
    also_from: str | None = None,
    **settings: Any,
) -> Any:
    """Return a group's field that is an option, named as the field and also read from the environment.

    Args:
        default: its value if it is not given.
        text: what it means.
        panel: the heading under which ``--help`` shows it, if it is not the group's ``panel``.
        flag: the option as typed, if it is not named as the field.
        negatable: whether ``--no-...`` takes it back.
        also_from: a second environment variable, read if the option's own is not set.
        **settings: anything else for `typer.Option`; a default that says nothing is not shown.
    """
    settings.setdefault("show_default", default is not None and not negatable)

    def named(name: str, group_panel: str | None) -> Any:
        typed = flag or "--" + name.replace("_", "-")
        variable = "BOOKING_MIGRATE_" + typed.removeprefix("--").replace("-", "_").upper()
        return typer.Option(
            f"{typed}/--no-{typed.removeprefix('--')}" if negatable else typed,
            help=text,
            rich_help_panel=panel or group_panel,
            envvar=[variable] if also_from is None else [variable, also_from],
            show_envvar=False,
            **settings,
        )

    return field(default=default, metadata={_NAMED: named})


class Group:
    """The base of all groups, which are dataclasses whose fields are options."""

    __slots__ = ()
    panel: ClassVar[str | None] = None
    """The heading under which ``--help`` shows the group."""

    def __init_subclass__(cls, panel: str | None = None) -> None:
        """Take the heading; a class with slots is made twice, the second time without it."""
        if panel is not None:
            cls.panel = panel


def only(*names: str) -> frozenset[str]:
    """Return the mark for a group of which a command has these fields only; the others keep their defaults."""
    return frozenset(names)


WORDS = "booking_migrate.words"
"""The key under which a context's ``meta`` keeps the words of the command line."""

BEGUN = "booking_migrate.begun"
"""The key under which it keeps that a command's work has begun, so that it may have changed something."""


def is_from(ctx: typer.Context, parameter: str, *sources: str) -> bool:
    """Return whether a parameter's value comes from one of these sources (names of Click's ``ParameterSource``)."""
    source = ctx.get_parameter_source(parameter)
    return source is not None and source.name in sources


_UNREPORTED = frozenset({"uri", "db", "config", "json", "report", "quiet", "verbose", "yes"})
"""Parameters that say nothing of what was done, are reported elsewhere, or may hold a password."""


def set_options(ctx: typer.Context) -> dict[str, str]:
    """Return the options of a command that are not left at their defaults, as text, for its report."""
    shown = {}
    for parameter in ctx.command.params:
        name = parameter.name or ""
        value = ctx.params.get(name)
        if name in _UNREPORTED or value is None:
            continue
        if is_from(ctx, name, "COMMANDLINE", "ENVIRONMENT", "DEFAULT_MAP"):
            values = value if isinstance(value, list | tuple) else [value]
            shown[parameter.opts[0].removeprefix("--")] = ", ".join(map(_as_text, values))
    return shown


def _as_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(getattr(value, "value", value))


def flatten_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command for typer, with one parameter for each field of the groups that ``command`` takes.

    The order of parameters is that of the command's, and within a group that of its fields.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, tuple[type[Group], list[str]]] = {}
    parameters: list[inspect.Parameter] = []
    for name, argument in inspect.signature(command).parameters.items():
        kind, *marks = get_args(hints[name]) if get_origin(hints[name]) is Annotated else (hints[name],)
        if isinstance(kind, type) and issubclass(kind, Group):
            options = _options(kind, marks)
            groups[name] = kind, [each.name for each in options]
            parameters += options
        else:
            parameters.append(_parameter(name, hints[name], argument.default))

    def flat(**values: Any) -> None:
        built = {
            name: kind(**{each: values.pop(each) for each in names}) for name, (kind, names) in groups.items()
        }
        command(**values, **built)

    flat.__name__ = command.__name__
    flat.__annotations__ = {each.name: each.annotation for each in parameters}
    flat.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined] # for `inspect`
    return flat


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _options(group: Any, marks: Sequence[frozenset[str]]) -> list[inspect.Parameter]:
    """Return the parameters of a group, without those that a mark of `only` leaves out."""
    hints = get_type_hints(group)
    return [
        _parameter(
            each.name,
            Annotated[hints[each.name], each.metadata[_NAMED](each.name, group.panel)],
            each.default,
        )
        for each in fields(group)
        if all(each.name in mark for mark in marks)
    ]
