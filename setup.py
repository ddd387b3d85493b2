"""The part of the build that pyproject.toml cannot say: the C libraries, compiled by addercore/ops/c/build.py.

There is no Python in them, so a wheel is for every Python 3 on this platform; without a C compiler the package
is installed all the same, without kernels.
"""

import importlib.util
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent


def _module(path: Path) -> ModuleType:
    """A module by its file: importing it by name would import torch."""
    spec = importlib.util.spec_from_file_location("adder_kernels_build", path)
    if spec is None or spec.loader is None:
        raise RuntimeError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


kernels = _module(ROOT / "addercore" / "ops" / "c" / "build.py")


PARTS = {part: part.output.relative_to(ROOT) for part in kernels.PARTS}


class BuildKernels(build_ext):
    """Builds the libraries into the build folder, and for an editable installation beside their sources."""

    def _targets(self) -> dict[Path, Path]:
        """The libraries that were built, and where they lie in a checkout."""
        found = {Path(self.build_lib, place): place for place in PARTS.values()}
        return {target: place for target, place in found.items() if target.exists()}

    def run(self) -> None:
        for part, place in PARTS.items():
            target = Path(self.build_lib, place)
            message = kernels.build(target, part=part)
            if message:
                print(message, file=sys.stderr)
            if self.inplace or self.editable_mode:
                beside = ROOT / place
                beside.unlink(missing_ok=True)
                if not message:
                    shutil.copy2(target, beside)

    def get_outputs(self) -> list[str]:
        return [str(target) for target in self._targets()]

    def get_output_mapping(self) -> dict[str, str]:
        return {str(one): str(place) for one, place in self._targets().items()} if self.editable_mode else {}


class PlatformWheel(bdist_wheel):
    """py3-none-<platform> with the library, py3-none-any without."""

    def get_tag(self) -> tuple[str, str, str]:
        built = self.get_finalized_command("build_ext").get_outputs()
        return ("py3", "none", super().get_tag()[2] if built else "any")


def _extension(part: Any) -> Extension:
    """A library's sources, relative, as the source distribution wants them."""
    place = PARTS[part]
    files = sorted(path.relative_to(ROOT) for path in part.sources.iterdir())
    sources = [str(path) for path in files if path.suffix == ".c"]
    depends = [str(path) for path in files if path.suffix in (".h", ".inc")]
    return Extension(".".join(place.with_suffix("").parts), sources, depends=depends)


setup(
    ext_modules=[_extension(part) for part in PARTS],
    cmdclass={"build_ext": BuildKernels, "bdist_wheel": PlatformWheel},
)
