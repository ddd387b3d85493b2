"""The parts of a Markdown page that the checks read: links, anchors, code blocks and inline code."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parents[2]
MARK = re.compile(r"^\s*<!--\s*(.*?)\s*-->\s*$")
"""A line before a code block, which readers do not see: what a test does with it (tests/docs/snippets.py)."""
FENCE = re.compile(r"^ {0,3}```+\s*(\w*)\s*$")
LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(\s*<?([^)\s>]+)>?[^)]*\)")
HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*#*$")
ANCHOR = re.compile(r"<a\s+(?:id|name)=\"([^\"]+)\"")
INLINE = re.compile(r"(?<!`)`([^`\n]+(?:\n[^`\n]+)?)`(?!`)")


@dataclass(frozen=True)
class Piece:
    """A piece of a page, with the line on which it begins."""

    line: int
    text: str


@dataclass(frozen=True)
class Block:
    """A fenced code block, with the line on which its code begins and the mark on the line before its fence."""

    line: int
    language: str
    code: str
    mark: str | None


class Page:
    """One Markdown file of the repository."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name
        self._lines = path.read_text(encoding="utf-8").splitlines()

    @cached_property
    def _blocks(self) -> list[tuple[str, list[Piece]]]:
        """Language and lines of each fenced code block."""
        blocks: list[tuple[str, list[Piece]]] = []
        open_block: list[Piece] | None = None
        for number, line in enumerate(self._lines, start=1):
            fence = FENCE.match(line)
            if fence and open_block is None:
                open_block = []
                blocks.append((fence[1], open_block))
            elif fence:
                open_block = None
            elif open_block is not None:
                open_block.append(Piece(number, line))
        return blocks

    def blocks(self) -> Iterator[Block]:
        """The fenced code blocks, without the indentation that a list gives them."""
        for language, pieces in self._blocks:
            if not pieces:
                continue
            first = pieces[0].line  # its fence is the line before; lines count from 1
            mark = MARK.match(self._lines[first - 3]) if first > 2 else None
            code = textwrap.dedent("\n".join(piece.text for piece in pieces)) + "\n"
            yield Block(first, language, code, mark[1] if mark else None)

    def indented(self) -> Iterator[Piece]:
        """Lines of code that is set off by four spaces after an empty line, outside of lists."""
        before = ""
        for number, line in enumerate(self.prose.splitlines(), start=1):
            if line.startswith("    ") and not before.strip():
                yield Piece(number, line.strip())
            before = line

    @cached_property
    def prose(self) -> str:
        """The page without its code blocks, line by line in the same places."""
        inside = {piece.line for _, block in self._blocks for piece in block}
        kept = ["" if number in inside else line for number, line in enumerate(self._lines, start=1)]
        return "\n".join("" if FENCE.match(line) else line for line in kept)

    def links(self) -> Iterator[Piece]:
        """Targets of links and pictures, without those in code."""
        text = INLINE.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), self.prose)
        yield from (self._piece(text, match.start(), match[1]) for match in LINK.finditer(text))

    def with_links(self, change: Callable[[str], str]) -> str:
        """The page's text with other targets of its links and pictures. What code says stays."""
        text = "\n".join(self._lines) + "\n"
        code = {piece.line for _, block in self._blocks for piece in block}
        shown = "".join(
            " " * len(line) if number in code else line
            for number, line in enumerate(text.splitlines(keepends=True), start=1)
        )
        shown = INLINE.sub(lambda match: " " * len(match[0]), shown)
        for match in reversed([*LINK.finditer(shown)]):
            text = text[: match.start(1)] + change(match[1]) + text[match.end(1) :]
        return text

    def inline_code(self) -> Iterator[Piece]:
        """Inline code. One that goes over a line's end is joined by a space."""
        for match in INLINE.finditer(self.prose):
            yield self._piece(self.prose, match.start(), " ".join(match[1].split()))

    def shell_lines(self) -> Iterator[Piece]:
        """Commands of code blocks, lines that a backslash continues joined."""
        for language, block in self._blocks:
            if language not in ("", "sh", "bash", "console"):
                continue
            begun: Piece | None = None
            for piece in block:
                begun = piece if begun is None else Piece(begun.line, begun.text + " " + piece.text.strip())
                if begun.text.endswith("\\"):
                    begun = Piece(begun.line, begun.text[:-1])
                else:
                    yield begun
                    begun = None

    @cached_property
    def anchors(self) -> set[str]:
        """Fragments that a link into this page may have: GitHub's names of the headings, and explicit anchors."""
        found: dict[str, int] = {}
        anchors = set(ANCHOR.findall(self.prose))
        for line in self.prose.splitlines():
            if heading := HEADING.match(line):
                slug = slug_of(heading[1])
                repeated = found.get(slug, 0)
                found[slug] = repeated + 1
                anchors.add(f"{slug}-{repeated}" if repeated else slug)
        return anchors

    @staticmethod
    def _piece(text: str, start: int, found: str) -> Piece:
        return Piece(text.count("\n", 0, start) + 1, found)


def slug_of(heading: str) -> str:
    """The fragment that GitHub gives a heading: lower case, spaces as hyphens, without punctuation."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
    return re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")


def pages(root: Path = ROOT) -> list[Page]:
    """Every page of the documentation."""
    patterns = ("*.md", "docs/**/*.md", "benchmarks/*.md", "deploy/**/*.md")
    return [Page(path) for path in sorted(path for pattern in patterns for path in root.glob(pattern))]
