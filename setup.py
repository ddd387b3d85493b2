"""The part of the build that pyproject.toml cannot say: the C kernels, compiled by addercore/ops/c/build.py.

One library without Python in it, so a wheel is for every Python 3 on this platform; without a C compiler the package
is installed all the same, without kernels.
"""

import importlib.util
import shutil
import sys
from pathlib import Path
from types import ModuleType

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
FOLDER = Path("addercore", "ops", "c")


def _module(path: Path) -> ModuleType:
    """A module by its file: importing it by name would import torch."""
    spec = importlib.util.spec_from_file_location("adder_kernels_build", path)
    if spec is None or spec.loader is None:
        raise RuntimeError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


kernels = _module(ROOT / FOLDER / "build.py")


class BuildKernels(build_ext):
    """Builds the library into the build folder, and for an editable installation beside its sources."""

    def _target(self) -> Path:
        return Path(self.build_lib, FOLDER, kernels.LIBRARY)

    def run(self) -> None:
        message = kernels.build(self._target())
        if message:
            print(message, file=sys.stderr)
        if self.inplace or self.editable_mode:
            beside = ROOT / FOLDER / kernels.LIBRARY
            beside.unlink(missing_ok=True)
            if not message:
                shutil.copy2(self._target(), beside)

    def get_outputs(self) -> list[str]:
        return [str(self._target())] if self._target().exists() else []

    def get_output_mapping(self) -> dict[str, str]:
        return {output: str(FOLDER / kernels.LIBRARY) for output in self.get_outputs()} if self.editable_mode else {}


class PlatformWheel(bdist_wheel):
    """py3-none-<platform> with the library, py3-none-any without."""

    def get_tag(self) -> tuple[str, str, str]:
        built = self.get_finalized_command("build_ext").get_outputs()
        return ("py3", "none", super().get_tag()[2] if built else "any")


def _sources(*endings: str) -> list[str]:
    """Files in the C folder, relative, as the source distribution wants them."""
    return sorted(str(path.relative_to(ROOT)) for end in endings for path in (ROOT / FOLDER / "src").glob(f"*{end}"))


setup(
    ext_modules=[Extension("addercore.ops.c.libadder", _sources(".c"), depends=_sources(".h", ".inc"))],
    cmdclass={"build_ext": BuildKernels, "bdist_wheel": PlatformWheel},
)
