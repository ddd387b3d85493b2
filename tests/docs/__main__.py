"""`python -m tests.docs` (`make docs`): prints what is wrong in the documentation. Exit code 1 when anything is."""

from __future__ import annotations

import sys

from tests.docs.check import problems
from tests.docs.markdown import pages


def main() -> int:
    found = problems()
    print(
        "\n".join(found)
        or f"{len(pages())} pages: links, commands, paths, settings, calls and generated parts are right."
    )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
