"""The site: built strictly, with the repository's files beside its pages, and nothing loaded from elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs import site
from tests.docs.markdown import Page

INDEX = "# Documentation\n\n[../README.md](../README.md)\n\n## Guides\n\n| page | |\n|---|---|\n| [one](one.md) | 1 |\n"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "repository"
    for name, text in {
        "README.md": "# House\n\n[docs](docs/README.md), [rows](rows)\n",
        "rows/a.jsonl": "{}\n",
        "docs/README.md": INDEX,
        "docs/one.md": "# One\n\n[house](../README.md#house), [rows](../rows/a.jsonl), `[no](link.md)`\n\n## B, c: d\n",
    }.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_pages_link_to_the_repositorys_files_beside_them(repository: Path, tmp_path: Path) -> None:
    assert site.lay_out(repository, tmp_path / "pages") == 3
    one = (tmp_path / "pages" / "one.md").read_text()
    assert (
        one.splitlines()[2] == "[house](repository/README.md#house), [rows](repository/rows/a.jsonl), `[no](link.md)`"
    )
    assert (tmp_path / "pages" / "repository" / "rows" / "a.jsonl").read_text() == "{}\n"
    house = (tmp_path / "pages" / "repository" / "README.md").read_text()
    assert house.splitlines()[2] == "[docs](../README.md), [rows](rows/README.md)"
    assert "[a.jsonl](a.jsonl)" in (tmp_path / "pages" / "repository" / "rows" / "README.md").read_text()


def test_the_index_is_the_navigation(repository: Path) -> None:
    assert site.parts(repository) == {"Start": ["README.md"], "Guides": ["one.md"]}


def test_a_site_is_built_with_its_files_and_loads_nothing_from_elsewhere(repository: Path, tmp_path: Path) -> None:
    (repository / "docs" / "two.md").write_text("# Two\n\n[part](one.md#b-c-d)\n")
    assert site.build(repository, tmp_path / "out") == 4
    built = tmp_path / "out" / "site"
    assert 'href="repository/rows/a.jsonl"' in (built / "one.html").read_text()
    assert (built / "repository" / "rows" / "a.jsonl").exists()
    assert list(built.rglob("search*")), "an index to search in"


@pytest.mark.parametrize("link", ["[x](gone.md)", "[x](one.md#gone)"])
def test_a_link_that_leads_nowhere_ends_the_build(repository: Path, tmp_path: Path, link: str) -> None:
    (repository / "docs" / "one.md").write_text(f"# One\n\n{link}\n")
    with pytest.raises(site.SiteError, match=r"one\.md"):
        site.build(repository, tmp_path / "out")


def test_a_picture_from_elsewhere_ends_the_build(repository: Path, tmp_path: Path) -> None:
    (repository / "docs" / "one.md").write_text("# One\n\n![x](https://example.org/x.png)\n")
    with pytest.raises(site.SiteError, match=r"one\.html loads https://example\.org/x\.png"):
        site.build(repository, tmp_path / "out")


def test_links_in_code_stay(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text("[a](b.md) `[a](b.md)`\n```\n[a](b.md)\n```\n[a\nb](b.md#c)\n")
    changed = Page(path).with_links(lambda link: link.replace("b.md", "other.md"))
    assert changed == "[a](other.md) `[a](b.md)`\n```\n[a](b.md)\n```\n[a\nb](other.md#c)\n"
