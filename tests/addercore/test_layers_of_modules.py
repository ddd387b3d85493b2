"""Inside the library imports go one way, also late ones; loading a model needs no training."""

import subprocess
import sys

from tests.support.imports import circles_in, imports_within


def test_a_circle_is_found_whatever_its_length() -> None:
    assert circles_in({"a": {"b"}, "b": {"c"}, "c": set()}) == []
    assert circles_in({"a": {"b"}, "b": {"a"}, "c": {"a"}}) == [{"a", "b"}]
    assert circles_in({"x": {"a"}, "a": {"b", "x2"}, "b": {"c"}, "c": {"a"}, "x2": set()}) == [{"a", "b", "c"}]


def test_no_files_of_the_library_import_each_other_in_a_circle() -> None:
    circles = circles_in(imports_within("addercore"))
    assert [circle for circle in circles if not all(name.startswith("addercore.config.") for name in circle)] == []


def test_loading_a_model_loads_no_training() -> None:
    code = "import sys, addercore; addercore.load; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "addercore.io" in loaded
    assert [name for name in loaded if name.startswith(("addercore.train", "addercore.analysis"))] == []
    imported = imports_within("addercore")
    assert [name for name in imported["addercore.io"] if ".train" in name or ".analysis" in name] == []


def test_files_and_shapes_need_no_tensor_library() -> None:
    code = "import sys, addercore.files, addercore.arch.shapes; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"torch", "numpy"}.isdisjoint(done.stdout.split())
