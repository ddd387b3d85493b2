"""Groups of commands about one thing: ``adder jobs`` and ``adder jobs list`` are the same for each of them."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from itertools import takewhile
from typing import Any

import typer
from typer.core import TyperGroup

from adderclient import schema
from adderclient.command.errors import UsageError

OTHER_WORDS: dict[str, tuple[str, ...]] = {
    "add": ("upload", "submit", "make", "create"),
    "cat": ("logs", "show"),
    "create": ("make", "submit", "upload"),
    "describe": ("show",),
    "evaluate": ("submit",),
    "fetch": ("download",),
    "get": ("show", "download"),
    "info": ("show", "system"),
    "inspect": ("show",),
    "kill": ("cancel",),
    "list": ("jobs",),
    "log": ("logs",),
    "ls": ("list", "jobs"),
    "new": ("init", "make", "create"),
    "ps": ("list", "jobs"),
    "pull": ("download",),
    "push": ("upload", "import"),
    "quantise": ("quantize",),
    "register": ("upload", "import", "make", "create"),
    "remove": ("delete", "revoke"),
    "rename": ("edit",),
    "restart": ("retry",),
    "rm": ("delete", "revoke"),
    "run": ("submit",),
    "save": ("download",),
    "serve": ("up",),
    "server": ("up",),
    "signin": ("login",),
    "start": ("up", "submit"),
    "status": ("show", "system"),
    "stop": ("cancel", "drain"),
    "tail": ("watch", "logs"),
    "test": ("predict",),
    "train": ("submit",),
    "unpause": ("resume",),
    "whoami": ("me",),
}
"""What other tools call commands, and which of this one's are meant; the first that a group has."""


class Suggests(TyperGroup):
    """A group that names what was most likely meant: by a command that it does not have, by a field as an option."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that the first word names. Raises UsageError if there is none."""
        word = args[0]
        if word not in self.commands and not word.startswith("-") and not ctx.resilient_parsing:
            shown = [name for name, command in self.commands.items() if not command.hidden]
            meant = next((name for name in OTHER_WORDS.get(word.lower(), ()) if name in self.commands), None)
            meant = meant or next(iter(get_close_matches(word.lower(), shown, 1, 0.7)), None)
            path = "adder" + ctx.command_path.removeprefix(ctx.find_root().command_path)
            asked = "" if meant is None else f"; did you mean {path} {meant}?"
            raise UsageError(f"there is no command {word[:60]!r}{asked} ({path} --help lists them)")
        name, command, rest = super().resolve_command(ctx, args)
        if command is not None and not ctx.resilient_parsing:
            _refuse_fields(command, rest, "base." if str(self.name).startswith("sweep") else "")
        return name, command, rest


def _refuse_fields(command: Any, words: list[str], section: str) -> None:
    """Raises UsageError where an option is a field of the spec, for a command that sets fields by `--set`."""
    known = {option for one in command.params for option in (*one.opts, *one.secondary_opts)} | {"--help"}
    if "--set" not in known:
        return
    for word in takewhile(lambda word: word != "--", words):
        option, _, value = word.partition("=")
        field = schema.called(option[2:]) if option.startswith("--") and option not in known else None
        if field is not None:
            asked = f"--set {section}{field}={value or '…'}"
            raise UsageError(f"there is no option {option[:60]}; a field of the spec is set by {asked}")


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
    cls: type[TyperGroup] = Suggests,
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
