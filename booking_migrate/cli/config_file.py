"""The config file: TOML whose keys are the options' names with underscores, ``[contract]`` and ``[hooks]``.

Keys at the top are for all commands that have such an option, those in a table named as a command for that command
alone. Paths in it are relative to the folder in which the command runs. Values rank below options and environment.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from pydantic import ValidationError

from booking_migrate.cli.hooks import Hooks, read_hooks
from booking_migrate.domain.contract import Contract
from booking_migrate.errors import BadConfiguration

_CONTRACT = "contract"
_HOOKS = "hooks"
_NOT_IN_FILE = frozenset({"config", "help"})

Table = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A config file that was read; the values of its options are in the context's ``default_map``."""

    path: Path
    contract: Table
    hooks: Hooks


def read_config_option(ctx: typer.Context, path: Path | None) -> Path | None:
    """Read the config file as soon as ``--config`` is parsed, so that the other options take their defaults from it.

    A problem is kept for `hooks_of`: raised there, it appears in the JSON report like any other.
    """
    if path is not None and not ctx.resilient_parsing:
        try:
            ctx.default_map, ctx.obj = _load(path, ctx)
        except BadConfiguration as problem:
            ctx.obj = problem
    return path


def config_path(ctx: typer.Context) -> str | None:
    """Return where the config file is, so that it is found from any folder; None without one."""
    return str(ctx.obj.path.absolute()) if isinstance(ctx.obj, ConfigFile) else None


def hooks_of(ctx: typer.Context) -> Hooks:
    """Return the hooks that the config file names; none without one.

    Raises:
        BadConfiguration: the config file cannot be read or has a value that is not valid.
    """
    if isinstance(ctx.obj, BadConfiguration):
        raise ctx.obj
    return ctx.obj.hooks if isinstance(ctx.obj, ConfigFile) else Hooks()


def contract_of(ctx: typer.Context) -> Contract:
    """Return the contract with the new application: the default one, as far as the config file does not change it.

    Raises:
        BadConfiguration: the config file cannot be read or has a value that is not valid.
    """
    if isinstance(ctx.obj, BadConfiguration):
        raise ctx.obj
    if not isinstance(ctx.obj, ConfigFile):
        return Contract()
    try:
        return Contract.model_validate(ctx.obj.contract)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        raise _problem(ctx.obj.path, f"[{_CONTRACT}] {key}: {first['msg']}") from error


def _load(path: Path, ctx: typer.Context) -> tuple[dict[str, Any], ConfigFile]:
    """Return the options' values by the names of the command's parameters, and the rest of the file."""
    content = _read(path)
    contract = content.pop(_CONTRACT, {})
    if not isinstance(contract, dict):
        raise _problem(path, f"{_CONTRACT} is not a table")
    hooks = read_hooks(str(path), content.pop(_HOOKS, {}))
    commands = _commands(ctx)
    own = content.pop(ctx.command.name or "", {})
    others = {name: content.pop(name) for name in commands if name in content}
    for name, table in {**others, ctx.command.name or "": own}.items():
        if not isinstance(table, dict):
            raise _problem(path, f"{name} is not a table")
        _check_keys(path, table, set(_parameters(commands.get(name, ctx.command))), f"[{name}] ")
    parameters = _parameters(ctx.command)
    if not parameters.keys() >= content.keys():
        # Only now, because it imports every command.
        _check_keys(path, content, {key for command in commands.values() for key in _parameters(command)}, "")
    values = {
        parameters[key].name: _value(path, key, value, parameters[key], ctx)
        for key, value in {**content, **own}.items()
        if key in parameters
    }
    return values, ConfigFile(path, contract, hooks)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise _problem(path, f"cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise _problem(path, f"is not TOML: {error}") from error


def _commands(ctx: typer.Context) -> Mapping[str, Any]:
    """Return the commands by name; asking for one imports it."""
    commands: Mapping[str, Any] = getattr(ctx.find_root().command, "commands", {})
    return commands


def _parameters(command: Any) -> dict[str, Any]:
    """Return a command's options by their keys in the file: ``batch_size`` for ``--batch-size``."""
    keys = {parameter.opts[0].removeprefix("--").replace("-", "_"): parameter for parameter in command.params}
    return {key: parameter for key, parameter in keys.items() if key not in _NOT_IN_FILE}


def _check_keys(path: Path, table: Table, known: set[str], where: str) -> None:
    for key in table:
        if key not in known:
            raise _problem(path, f"{where}{key} is not an option")


def _value(path: Path, key: str, value: Any, parameter: Any, ctx: typer.Context) -> Any:
    """Return the value if it is of the option's type; it is converted again where it is used."""
    if parameter.multiple:
        fits, wanted = _is_list_of_strings(value), "a list of strings"
    elif parameter.is_flag:
        fits, wanted = isinstance(value, bool), "true or false"
    elif parameter.type_descriptor.annotation is float:
        fits, wanted = type(value) in (str, int, float), "a string or a number"
    else:
        fits, wanted = type(value) in (str, int), "a string or a whole number"
    if not fits:
        raise _problem(path, f"{key} is not {wanted}")
    try:
        parameter.process_value(ctx, value)
    except typer.BadParameter as error:
        raise _problem(path, f"{key}: {error.message.removesuffix('.')}") from error
    return value


def _is_list_of_strings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _problem(path: Path, problem: str) -> BadConfiguration:
    return BadConfiguration(str(path), problem)
