"""The documentation agrees with the repository, and its check can fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.docs import check, commands, messages
from tests.docs.markdown import Page, slug_of

Check = Callable[[Page], Iterator[tuple[int, str]]]


def test_links_commands_paths_and_generated_parts_are_right() -> None:
    assert check.problems() == []


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("adder submit job.yaml --watch | tee log", None),
        ("ADDER_URL=http://host adder jobs --status running --json  # those that run", None),
        (".venv/bin/adder up [--port 8000] [--data DIR]", None),
        ("adder sweep table SWEEP --format md", None),
        ("adder submit job.yaml --wait", "`adder submit` has no option --wait"),
        ("true && adder start", "`adder` has no command 'start'"),
        ("adder sweep tables SWEEP", "`adder sweep` has no command 'tables'"),
        ("make demo TORCH_INDEX_URL=https://example.org", None),
        ("make all", "the Makefile has no target 'all'"),
        ("python -m tests.faults --only disk", None),
        ("python -m tests.fault", "there is no module tests.fault"),
        ("python -m benchmarks.kernels --fast", "`python -m benchmarks.kernels` has no option --fast"),
        ("python -m addercore", "addercore cannot be run: it has no __main__"),
        ("deploy/new-env && docker compose up -d", None),
        ("deploy/old-env", "deploy/old-env does not exist"),
        ("curl --wait host; docker compose --nothing up", None),
    ],
)
def test_a_command_must_exist_with_its_options(line: str, problem: str | None) -> None:
    assert list(commands.problems_of(line)) == ([] if problem is None else [problem])


@pytest.mark.parametrize(
    ("find", "text", "problem"),
    [
        (check.broken_links, "[one](two.md)", "the link two.md leads nowhere"),
        (check.broken_links, "# A b\n[one](#a-b)", None),
        (check.broken_links, "# A b\n\n[one](#a-c)", "page.md has no heading #a-c"),
        (check.broken_links, "`[one](two.md)` and\n```\n[one](two.md)\n```", None),
        (check.broken_links, "[one](https://example.org/nothing)", None),
        (check.wrong_commands, "Say `adder\nsubmit --wait job.yaml`.", "`adder submit` has no option --wait"),
        (check.wrong_commands, "```sh\nadder \\\n  submit --wait\n```", "`adder submit` has no option --wait"),
        (check.wrong_commands, "```json\nadder submit --wait\n```", None),
        (check.missing_paths, "`jobs/states.py: Cause` and `jobs/states.py`", None),
        (check.missing_paths, "`jobs/states.py: Effect`", "jobs/states.py has no Effect"),
        (check.missing_paths, "`jobs/nothing.py`", "jobs/nothing.py does not exist"),
        (check.missing_paths, "`jobs.states.EDGES` and `addercore.nn`", None),
        (check.missing_paths, "`jobs.states.CORNERS`", "there is no module or name jobs.states.CORNERS"),
        (check.unknown_settings, "`ADDER_DATA_DIR` and `ADDER_URL`", None),
        (check.unknown_settings, "ADDER_" + "NOTHING=1", "nothing reads ADDER_" + "NOTHING"),
        (check.unknown_calls, "`GET /v1/jobs/{id}` and `POST|DELETE /v1/workers/{id}/drain`", None),
        (check.unknown_calls, "`PUT /v1/jobs/{id}`", "the API has no call PUT /v1/jobs/{id}"),
    ],
)
def test_what_is_not_there_is_found(tmp_path: Path, find: Check, text: str, problem: str | None) -> None:
    path = tmp_path / "page.md"
    path.write_text(text)
    found = [why for _, why in find(Page(path))]
    assert found == ([] if problem is None else [problem])


def test_a_problem_names_the_line_on_which_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text("# Page\n\n```sh\nmake test\nmake nothing\n```\n\n[a](b.md)\n")
    assert [line for line, _ in check.wrong_commands(Page(path))] == [5]
    assert [line for line, _ in check.broken_links(Page(path))] == [8]


@pytest.mark.parametrize(
    ("heading", "slug"),
    [
        ("Who is next", "who-is-next"),
        ("`jobs/` and [more](x.md)", "jobs-and-more"),
        ("The paper's tables, on digits", "the-papers-tables-on-digits"),
    ],
)
def test_a_heading_has_the_fragment_that_github_gives_it(heading: str, slug: str) -> None:
    assert slug_of(heading) == slug


def test_the_list_of_messages_is_what_the_code_says() -> None:
    assert messages.PAGE.read_text() == messages.page(), "run python -m tests.docs.messages"


def test_messages_are_found_wherever_they_stand(tmp_path: Path) -> None:
    code = tmp_path / "code.py"
    code.write_text(
        '"""A docstring of several words."""\n'
        "LIMIT = 3\n"
        'ADVICE = "Use a smaller batch."\n'
        "def check(x, log):\n"
        '    log.info("a line of a log")\n'
        "    if x > LIMIT:\n"
        '        raise ValueError(f"x must be at most {LIMIT}, got {x}. " + ADVICE)\n'
        '    return "is no number at all" if x is None else x["two words"]\n'
    )
    assert list(messages.sentences(code)) == [
        "Use a smaller batch.",
        "x must be at most {LIMIT}, got {x}. {ADVICE}",
        "is no number at all",
    ]
