"""Dataclasses as groups of command-line parameters.

A command takes one argument per group. Typer, which reads signatures, is shown one parameter per field instead: the
field's name, its annotation (``Annotated[type, option(help=...)]``) and its default are those of the parameter. A class
variable ``panel`` is the heading under which ``--help`` shows the group.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer

_CONTEXT = "ctx"


@dataclass(frozen=True, slots=True)
class Option:
    """An option without its name; `flatten_groups` names it, its environment variable and its panel."""

    help: str
    panel: str | None
    """The heading under which ``--help`` shows it; None: the group's."""

    flag: str | None
    """The option as typed; None: the parameter's name, with dashes."""

    negatable: bool
    also_from: str | None
    settings: Mapping[str, Any]

    def named(self, parameter: str, panel: str | None) -> Any:
        """Return the option for typer.

        Args:
            parameter: the parameter's name.
            panel: the group's panel, for an option that names none.
        """
        flag = self.flag or "--" + parameter.replace("_", "-")
        variable = "BOOKING_MIGRATE_" + flag.removeprefix("--").replace("-", "_").upper()
        return typer.Option(
            f"{flag}/--no-{flag.removeprefix('--')}" if self.negatable else flag,
            help=self.help,
            rich_help_panel=self.panel or panel,
            envvar=[variable] if self.also_from is None else [variable, self.also_from],
            show_envvar=False,
            **self.settings,
        )


def option(
    *,
    help: str,  # noqa: A002 - typer's own name for it
    panel: str | None = None,
    flag: str | None = None,
    negatable: bool = False,
    also_from: str | None = None,
    **settings: Any,
) -> Option:
    """Return an option that is named as its parameter and also read from the environment.

    Args:
        help: what it means.
        panel: the heading under which ``--help`` shows it, if it is not the group's ``panel``.
        flag: the option as typed, if it is not named as the parameter.
        negatable: whether ``--no-...`` takes it back.
        also_from: a second environment variable, read if the option's own is not set.
        **settings: anything else for `typer.Option`.
    """
    return Option(help, panel, flag, negatable, also_from, settings)


@dataclass(frozen=True, slots=True)
class FromEnvironment:
    """Marks a field that says whether another parameter's value comes from an environment variable."""

    parameter: str


@dataclass(frozen=True, slots=True)
class Only:
    """Marks a group of which a command has some fields only; the others keep their defaults."""

    names: frozenset[str]


def only(*names: str) -> Only:
    """Return the mark for a group of which a command has these fields only."""
    return Only(frozenset(names))


@dataclass(frozen=True, slots=True)
class _Group:
    """One group of a command: its class, and its fields by how they are filled."""

    kind: type
    parameters: Mapping[str, inspect.Parameter]
    from_environment: Mapping[str, str]
    """The parameter that each `FromEnvironment` field asks about."""

    def build(self, values: dict[str, Any], ctx: typer.Context) -> Any:
        """Take the group's values out of ``values`` and make the dataclass of them."""
        taken = {name: values.pop(name) for name in self.parameters}
        asked = {name: is_from(ctx, other, "ENVIRONMENT") for name, other in self.from_environment.items()}
        return self.kind(**taken, **asked)


def is_from(ctx: typer.Context, parameter: str, *sources: str) -> bool:
    """Return whether a parameter's value comes from one of these sources (names of Click's ``ParameterSource``)."""
    source = ctx.get_parameter_source(parameter)
    return source is not None and source.name in sources


def flatten_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command for typer, with one parameter for each field of the groups that ``command`` takes.

    The order of parameters is that of the command's arguments, and within a group that of its fields. The command may take
    a ``ctx: typer.Context`` itself.
    """
    hints = get_type_hints(command, include_extras=True)
    hints.pop("return", None)
    groups: dict[str, _Group] = {}
    parameters = {_CONTEXT: _parameter(_CONTEXT, typer.Context, inspect.Parameter.empty)}
    for name, argument in inspect.signature(command).parameters.items():
        group = _group_of(hints[name])
        if group is None:
            parameters[name] = _parameter(name, hints[name], argument.default)
        else:
            groups[name] = group
            parameters |= group.parameters

    def flat(**values: Any) -> None:
        ctx: typer.Context = values[_CONTEXT]
        if _CONTEXT not in hints:
            del values[_CONTEXT]
        built = {name: group.build(values, ctx) for name, group in groups.items()}
        command(**values, **built)

    flat.__name__, flat.__doc__ = command.__name__, command.__doc__
    flat.__annotations__ = {name: each.annotation for name, each in parameters.items()}
    flat.__signature__ = inspect.Signature(list(parameters.values()))  # type: ignore[attr-defined] # for `inspect`
    return flat


def _parameter(name: str, annotation: Any, default: Any, panel: str | None = None) -> inspect.Parameter:
    if get_origin(annotation) is Annotated:
        kind, *marks = get_args(annotation)
        for mark in marks:
            if isinstance(mark, Option):
                annotation = Annotated[kind, mark.named(name, panel)]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _group_of(annotation: Any) -> _Group | None:
    """Return the group that an argument is, None for an argument that is one parameter."""
    kind, *marks = get_args(annotation) if get_origin(annotation) is Annotated else (annotation,)
    if not is_dataclass(kind) or not isinstance(kind, type):
        return None
    shown = dict(_shown_fields(kind, marks))
    hints = get_type_hints(kind, include_extras=True)
    from_environment = {
        name: mark.parameter
        for name in shown
        for mark in get_args(hints[name])
        if isinstance(mark, FromEnvironment)
    }
    parameters = {
        name: _parameter(
            name,
            hints[name],
            inspect.Parameter.empty if each.default is MISSING else each.default,
            getattr(kind, "panel", None),
        )
        for name, each in shown.items()
        if name not in from_environment
    }
    return _Group(kind, parameters, from_environment)


def _shown_fields(kind: Any, marks: list[Any]) -> Iterator[tuple[str, Field[Any]]]:
    chosen = [mark.names for mark in marks if isinstance(mark, Only)]
    for each in fields(kind):
        if all(each.name in names for names in chosen):
            yield each.name, each
