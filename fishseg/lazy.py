"""Names of a package that are imported when they are first asked for (PEP 562).

So that importing one module of a package does not bring in what the others need: `fishseg predict`
runs where neither torch nor matplotlib is installed.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping


def names_of(
    package: str, module_of: Mapping[str, str], modules: Collection[str] = ()
) -> Callable[[str], Any]:
    """A package's ``__getattr__``.

    Args:
        package: its ``__name__``.
        module_of: the module of the package that has each name.
        modules: those of the package that are names of it themselves.
    """

    def of_package(name: str) -> Any:
        if name in modules:
            return importlib.import_module(f"{package}.{name}")
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{module_of[name]}"), name)

    return of_package
