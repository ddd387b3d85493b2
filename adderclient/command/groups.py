"""Groups of commands about one thing: ``adder jobs`` and ``adder jobs list`` are the same for each of them."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from typing import Any

import typer
from typer.core import TyperGroup

from adderclient.command.errors import UsageError


class ShowsNames(TyperGroup):
    """A group in which a word that is none of its commands is the name of something to show."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that the first word names, or `show`."""
        return super().resolve_command(ctx, args if args[0] in self.commands else ["show", *args])


def group(
    name: str,
    help: str,
    list_: Callable[..., None],
    verbs: Mapping[str, Callable[..., None]],
    cls: type[TyperGroup] = TyperGroup,
) -> typer.Typer:
    """Makes a group whose name alone lists.

    Args:
        name: of the group.
        help: what the group is for.
        list_: its command ``list``, also run where no command is named.
        verbs: its other commands by their names.
        cls: how words are resolved.

    Returns:
        The group; more commands may be added to it.
    """
    made = typer.Typer(name=name, help=help, cls=cls)
    made.callback(invoke_without_command=True, help=help)(_unless_a_verb_follows(list_, name))
    made.command("list")(list_)
    for verb, command in verbs.items():
        made.command(verb)(command)
    return made


def _unless_a_verb_follows(list_: Callable[..., None], group: str) -> Callable[..., None]:
    """The command `list` as the callback of its group. Of options before a verb only ``--url`` means something."""

    def callback(context: typer.Context, **options: Any) -> None:
        verb = context.invoked_subcommand
        if verb is None:
            list_(**options)
            return
        for parameter in context.command.params:
            name = str(parameter.name)
            source = context.get_parameter_source(name)
            if source is None or source.name != "COMMANDLINE":
                continue
            if name != "url":
                option = parameter.opts[0]
                raise UsageError(f"write {option} after the command: adder {group} {verb} … {option}")
            os.environ["ADDER_URL"] = str(options[name])

    signature = inspect.signature(list_)
    context = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    parameters = [context, *signature.parameters.values()]
    callback.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    callback.__annotations__ = {one.name: one.annotation for one in parameters}
    return callback
