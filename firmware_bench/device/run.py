"""Start the runner from the folder it lies in: ``python3 run.py job.json``.

The folder may have any name and lie anywhere: it is made a package under a name of its own, and is
taken off the search path, so that no file in it hides a module of the same name.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys

PACKAGE = "dlink_device"


def load_package(folder: str) -> str:
    """Import `folder` as the package `dlink_device`; return that name."""
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or ".") != folder]
    spec = importlib.util.spec_from_file_location(
        PACKAGE, os.path.join(folder, "__init__.py"), submodule_search_locations=[folder]
    )
    assert spec is not None
    assert spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules[PACKAGE] = package
    spec.loader.exec_module(package)
    return PACKAGE


if __name__ == "__main__":
    name = load_package(os.path.dirname(os.path.abspath(__file__)))
    module = ".worker" if sys.argv[1:2] == ["--worker"] else ".main"
    sys.exit(importlib.import_module(name + module).main(sys.argv[1:]))
