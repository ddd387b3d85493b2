"""Checks commands that pages name: `adder …`, `make …`, `python -m …` and programs of the repository."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.util import find_spec

from adderclient.command import application
from tests.docs.markdown import ROOT

ASSIGNMENT = re.compile(r"^[A-Za-z_]\w*=")
WORD = re.compile(r"^[a-z][\w-]*$")
SEPARATORS = ("|", "||", "&&", ";", "&")
OURS = ("adder", "make", "python", "python3")


def problems_of(line: str) -> Iterator[str]:
    """What is wrong with the commands on a line of a shell. Other programs than ours are not looked at."""
    for words in _commands(line):
        words = _without_assignments(words)
        if not words:
            continue
        program, arguments = words[0].rpartition("/")[2], words[1:]
        if program == "adder":
            yield from _adder(arguments)
        elif program == "make":
            yield from _make(arguments)
        elif program in ("python", "python3") and arguments[:1] == ["-m"] and len(arguments) > 1:
            yield from _module(arguments[1], arguments[2:])
        elif re.fullmatch(r"(deploy|tests|benchmarks)/[\w./-]+", words[0]) and not (ROOT / words[0]).is_file():
            yield f"{words[0]} does not exist"


def is_ours(code: str) -> bool:
    """Whether inline code is a command that `problems_of` checks."""
    words = _without_assignments(code.split())
    return len(words) > 1 and words[0].rpartition("/")[2] in OURS


def _commands(line: str) -> Iterator[list[str]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;")
    lexer.whitespace_split = True
    try:
        words = list(lexer)
    except ValueError:  # a quote that a later line closes
        words = line.partition("#")[0].split()
    command: list[str] = []
    for word in words:
        if word in SEPARATORS:
            yield command
            command = []
        else:
            command.append(word)
    yield command


def _without_assignments(words: Sequence[str]) -> list[str]:
    at = 0
    while at < len(words) and (ASSIGNMENT.match(words[at]) or words[at] in ("exec", "sudo", "$")):
        at += 1
    return list(words[at:])


def _adder(arguments: Sequence[str]) -> Iterator[str]:
    command, name, rest = application(), "adder", list(arguments)
    while rest and hasattr(command, "commands") and WORD.match(rest[0]):
        inner = command.commands.get(rest[0])
        if inner is None:
            yield f"`{name}` has no command {rest[0]!r}"
            return
        command, name, rest = inner, f"{name} {rest[0]}", rest[1:]
    known = {"--help"} | {
        option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)
    }
    for option in _options(rest):
        if option not in known and option != "--help":
            yield f"`{name}` has no option {option}"


def _options(words: Sequence[str]) -> Iterator[str]:
    for word in words:
        # A usage line has brackets around what is optional: [--port 8000].
        option = word.lstrip("[(").rstrip(",.])").partition("=")[0]
        if re.fullmatch(r"--?[A-Za-z][\w-]*", option):
            yield option


@cache
def _targets() -> frozenset[str]:
    text = (ROOT / "Makefile").read_text()
    return frozenset(re.findall(r"^([A-Za-z][\w-]*):(?!=)", text, re.MULTILINE))


def _make(arguments: Sequence[str]) -> Iterator[str]:
    for word in arguments:
        if WORD.match(word) and word not in _targets():
            yield f"the Makefile has no target {word!r}"


def _module(name: str, arguments: Sequence[str]) -> Iterator[str]:
    folder = ROOT.joinpath(*name.split("."))
    if not (ROOT / name.partition(".")[0]).is_dir():
        if find_spec(name.partition(".")[0]) is None:
            yield f"there is no module {name}"
        return
    # Ours are found by their files: find_spec would import their packages, torch with them.
    source = folder / "__main__.py" if folder.is_dir() else folder.with_suffix(".py")
    if not source.is_file():
        yield f"{name} cannot be run: it has no __main__" if folder.is_dir() else f"there is no module {name}"
        return
    text = source.read_text()
    for option in _options(arguments):
        if f'"{option}"' not in text and option != "--help":
            yield f"`python -m {name}` has no option {option}"
