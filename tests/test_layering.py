"""Imports run one way: targets <- distill <- export <- firmware_bench."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ORDER = ("targets", "distill", "export", "firmware_bench")
#: targets describes devices and must load anywhere, quickly.
TARGETS_MAY_USE = {"pydantic", "targets"} | set(sys.stdlib_module_names)


def imported(path: Path) -> set[str]:
    """Top-level packages that a file imports, wherever in the file."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("package", ORDER)
def test_no_package_imports_one_that_stands_above_it(package):
    above = set(ORDER[ORDER.index(package) + 1 :]) | {"tests"}
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    wrong = {str(path.relative_to(ROOT)): sorted(imported(path) & above) for path in files}
    assert {path: names for path, names in wrong.items() if names} == {}


def test_targets_needs_only_the_standard_library_and_pydantic():
    files = (ROOT / "targets").rglob("*.py")
    assert {n for path in files for n in imported(path)} <= TARGETS_MAY_USE


def test_the_check_sees_imports_inside_functions(tmp_path):
    path = tmp_path / "module.py"
    path.write_text("def f():\n    from firmware_bench.gate import judge\n    import torch.nn\n")
    assert imported(path) == {"firmware_bench", "torch"}
