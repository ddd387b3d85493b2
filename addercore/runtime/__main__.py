"""`python -m addercore.runtime model.adder image.png …`: what an integer model says of image files."""

from __future__ import annotations

import argparse
import sys

from addercore.errors import AdderError
from addercore.runtime import load


def main(arguments: list[str] | None = None) -> int:
    """The command; its exit status."""
    parser = argparse.ArgumentParser(prog="python -m addercore.runtime", description=__doc__)
    parser.add_argument("model", help="a model.adder")
    parser.add_argument("images", nargs="+", help="image files")
    parser.add_argument("--engine", help="which kernels to use; default: the fastest of this processor")
    parser.add_argument("--top", type=int, default=3, help="how many classes to print")
    options = parser.parse_args(arguments)
    try:
        model = load(options.model, options.engine)
        model.verify()
        for image in options.images:
            answer = model.predict(image)
            best = sorted(answer.probabilities.items(), key=lambda item: -item[1])[: max(options.top, 1)]
            print(f"{image}: {answer.label} ({', '.join(f'{name} {share:.1%}' for name, share in best)})")
    except (AdderError, ValueError, RuntimeError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
