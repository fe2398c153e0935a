"""Stand-ins for ESMValTool, which conda alone has: eWaterCycle imports it, and nothing here runs it."""

import importlib.util
import sys
import types

NAMES = {
    "esmvaltool.diag_scripts.shared": ("ProvenanceLogger", "get_diagnostic_filename", "run_diagnostic"),
    "esmvalcore.config": ("CFG", "Session"),
    "esmvalcore.dataset": ("Dataset",),
    "esmvalcore.experimental.recipe": ("Recipe",),
    "esmvalcore.experimental.recipe_output": ("DataFile", "ImageFile", "RecipeOutput"),
}


def module(name):
    if name not in sys.modules:
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__path__ = []
    return sys.modules[name]


if importlib.util.find_spec("esmvaltool") is None or importlib.util.find_spec("esmvalcore") is None:
    for name, classes in NAMES.items():
        parts = name.split(".")
        for k in range(1, len(parts) + 1):
            module(".".join(parts[:k]))
        for one in classes:
            setattr(sys.modules[name], one, type(one, (), {}))
