"""`python -m tests.docs.site`: builds the documentation as a site, strictly, in build/docs/site. Needs no network.

Zensical reads one folder, and the pages here also link to files of the repository. So all pages, and the files that
they link to, are laid out in a folder first: docs/ at its top, everything else below repository/. The navigation is
the index, docs/README.md: its headings are the parts, the links in their tables the pages.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from tests.docs.markdown import ROOT, Page, pages

FOLDER = ROOT / "build" / "docs"
OUTSIDE = Path("repository")
"""Where the site has what does not lie in docs/."""
ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*:")
ROW = re.compile(r"^\| \[[^\]]+\]\(([^)#]+)\) \|")
LOADED = re.compile(r"""<(?:script|link|img|iframe|source)\b[^>]*?\b(?:src|href)=["']?((?:https?:)?//[^"'\s>]+)""")
CONFIGURATION = """\
[project]
site_name = "Adderworks"
site_description = "Training as a service for adder networks"
docs_dir = "pages"
site_dir = "site"
use_directory_urls = false
nav = {nav}

[project.theme]
font = false
language = "en"
features = ["navigation.sections", "navigation.top", "search.highlight", "content.code.copy"]

[[project.theme.palette]]
scheme = "default"
toggle.icon = "lucide/sun"
toggle.name = "Dark"

[[project.theme.palette]]
scheme = "slate"
toggle.icon = "lucide/moon"
toggle.name = "Light"

[project.plugins.search]

[project.markdown_extensions.tables]
[project.markdown_extensions.md_in_html]
[project.markdown_extensions.pymdownx.highlight]
[project.markdown_extensions.pymdownx.superfences]
[project.markdown_extensions.toc]
permalink = true
slugify = {{ object = "pymdownx.slugs.slugify", kwds = {{ case = "lower" }} }}
"""


class SiteError(Exception):
    """The site cannot be built, or would load something from elsewhere."""


def build(root: Path = ROOT, folder: Path = FOLDER) -> int:
    """Builds the site into `folder`/site and gives the number of its pages.

    Raises `SiteError` for a link between pages that leads nowhere, and for a page that loads something from elsewhere.
    """
    shutil.rmtree(folder, ignore_errors=True)
    number = lay_out(root, folder / "pages")
    nav = "[" + ", ".join(f"{{{json.dumps(part)} = {json.dumps(names)}}}" for part, names in parts(root).items()) + "]"
    (folder / "zensical.toml").write_text(CONFIGURATION.format(nav=nav), encoding="utf-8")
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean", "--config-file", "zensical.toml"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env={**os.environ, "NO_COLOR": "1"})
    if done.returncode:
        raise SiteError(re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr))
    if loaded := sorted(set(from_elsewhere(folder / "site"))):
        raise SiteError("\n".join(loaded))
    return number


def lay_out(root: Path, target: Path) -> int:
    """Writes all pages, and the files that they name, as the site has them. Gives the number of pages."""
    found = pages(root)
    files = {path for path in (root / "docs").rglob("*") if path.is_file() and path.suffix != ".md"}
    for page in found:
        written = target / place(page.path, root)
        written.parent.mkdir(parents=True, exist_ok=True)

        def changed(link: str, page: Page = page) -> str:
            path, mark, fragment = link.partition("#")
            if not path or ADDRESS.match(link):
                return link
            named = (page.path.parent / unquote(path)).resolve()
            if named.is_dir():
                files.update(_listed(named, root, target))
                named = named / "README.md"
            elif named.suffix != ".md":
                files.add(named)
            return os.path.relpath(place(named, root), place(page.path, root).parent) + mark + fragment

        written.write_text(page.with_links(changed), encoding="utf-8")
    for file in files:
        copied = target / place(file, root)
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copied)
    return len(found)


def _listed(folder: Path, root: Path, target: Path) -> list[Path]:
    """The files of a folder, of which a page is made where the folder has none."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith((".", "__")))
    if not (folder / "README.md").exists():
        page = target / place(folder / "README.md", root)
        page.parent.mkdir(parents=True, exist_ok=True)
        rows = "".join(f"- [{path.name}]({path.name})\n" for path in files)
        page.write_text(f"# {folder.relative_to(root).as_posix()}\n\n{rows}", encoding="utf-8")
    return [path for path in files if path.suffix != ".md"]


def place(path: Path, root: Path) -> Path:
    """Where the site has a file of the repository."""
    inside = path.relative_to(root)
    return Path(*inside.parts[1:]) if inside.parts[0] == "docs" else OUTSIDE / inside


def parts(root: Path) -> dict[str, list[str]]:
    """The parts of the navigation, each with its pages in order, as the index has them."""
    found: dict[str, list[str]] = {"Start": ["README.md"]}
    part = "Start"
    for line in (root / "docs" / "README.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            part = line[3:].strip()
        elif row := ROW.match(line):
            page = place((root / "docs" / row[1]).resolve(), root).as_posix()
            found.setdefault(part, []).append(page)
    return found


def from_elsewhere(site: Path) -> Iterator[str]:
    """What pages and styles load from another host, each with the file that does."""
    for path in sorted(site.rglob("*.html")):
        for match in LOADED.finditer(path.read_text(encoding="utf-8")):
            if 'rel="canonical"' not in match[0] and "rel=canonical" not in match[0]:
                yield f"{path.relative_to(site)} loads {match[1]}"
    for path in sorted(site.rglob("*.css")):
        for address in re.findall(
            r"(?:url\(|@import )[\"']?((?:https?:)?//[^)\"']+)", path.read_text(encoding="utf-8")
        ):
            yield f"{path.relative_to(site)} loads {address}"


def main() -> int:
    begun = time.monotonic()
    try:
        number = build()
    except SiteError as error:
        print(error)
        return 1
    where = (FOLDER / "site" / "index.html").relative_to(ROOT)
    print(f"A site of {number} pages in {time.monotonic() - begun:.0f} s: {where}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
