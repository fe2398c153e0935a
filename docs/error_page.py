"""Write docs/errors.md: every error that a user can meet, and what one of each says.

``python docs/error_page.py``; a test fails while the page is not up to date. The examples are not
written down but provoked.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import chdir
from pathlib import Path
from unittest.mock import patch

import numpy as np
import yaml

from dmg_bmi import errors
from dmg_bmi.bmi import DeltaModelBmi
from dmg_bmi.errors import DmgBmiError
from dmg_bmi.model.bundle import BundleInfo
from dmg_bmi.model.bundle_files import SHIPPED

PAGE = Path(__file__).parent / "errors.md"
ATTRIBUTES = {"elev_mean": 640.0, "area": 320.0, "aridity": 0.8}
ATTRIBUTES |= {"frac_snow": 0.2, "frac_forest": 0.6, "clay_frac": 18.0}
RAIN = "atmosphere_water__liquid_equivalent_precipitation_rate"
HEAD = """# Errors

Every error that a user can cause is a `dmg_bmi.errors.DmgBmiError`; each is also an error of Python's own
kind, which a framework may already handle. A message says what is wrong, where, and what to do about it. A
call that raises has changed nothing: the next good call goes on as if it had not been. The messages below
are examples, one of many per error.

"""


def page() -> str:
    """Compose the page."""
    parts = [HEAD]
    for kind in family():
        also = [base.__name__ for base in kind.__mro__[1:] if base.__module__ == "builtins"][:1]
        own = [
            base.__name__
            for base in kind.__bases__
            if base is not DmgBmiError and issubclass(base, DmgBmiError)
        ]
        parts.append(f"## {kind.__name__}\n\n{' '.join((kind.__doc__ or '').split())}\n\n")
        parts.append(f"Is also: {', '.join(f'`{name}`' for name in own + also)}.\n\n")
        parts.append(f"    {message(kind)}\n\n")
    return "".join(parts).rstrip() + "\n"


def family() -> Iterator[type[DmgBmiError]]:
    """All errors but their base, in the order in which they are defined."""
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, DmgBmiError) and kind is not DmgBmiError:
            yield kind


def message(kind: type[DmgBmiError]) -> str:
    """Return the message of an example."""
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        try:
            EXAMPLES[kind.__name__]()
        except DmgBmiError as error:
            if type(error) is not kind:
                raise
            return " ".join(str(error).replace(f"{folder}/", "").split())
    raise AssertionError(f"the example of {kind.__name__} raises nothing")


# -- examples -----------------------------------------------------------------------


def component(**keys: object) -> DeltaModelBmi:
    """Make a daily model of one catchment."""
    catchments = {"ids": ["cat-7"], "area": 320.0, "attributes": ATTRIBUTES}
    config = {"bundle": "demo_daily", "catchments": catchments, **keys}
    Path("run.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    bmi = DeltaModelBmi()
    bmi.initialize("run.yaml")
    return bmi


def set_state(*values: int) -> None:
    """Restore from a few bytes."""
    component().set_value("ngen::serialization_state", np.array(values, dtype=np.uint8))


def torn_bundle() -> None:
    """Weights that lack their last byte."""
    shutil.copytree(SHIPPED / "demo_daily", "bundle")
    (weights,) = Path("bundle").glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1])
    BundleInfo.read("bundle").load_model()


def import_nothing() -> None:
    """Import a folder without a model of dmg."""
    from dmg_bmi.interop.import_dmg import import_dmg

    Path("model").mkdir()
    import_dmg(Path("model"))


def import_no_run() -> None:
    """Import a run of neuralhydrology whose model is not known."""
    from dmg_bmi.interop.import_neuralhydrology import import_neuralhydrology

    Path("run").mkdir()
    Path("run/config.yml").write_text("model: mamba\n", encoding="utf-8")
    import_neuralhydrology(Path("run"))


def hydrofabric() -> None:
    """Read a file that is not a GeoPackage."""
    from dmg_bmi.hydrofabric.reader import read

    Path("hydrofabric.gpkg").write_bytes(b"nothing")
    read(Path("hydrofabric.gpkg"))


def check_nothing() -> None:
    """Check a realization that is not JSON."""
    from dmg_bmi.nextgen.check.realization import check

    Path("realization.json").write_text("{", encoding="utf-8")
    check(Path("realization.json"), Path("hydrofabric.gpkg"))


def torn_checkpoint() -> None:
    """Resume from a truncated checkpoint."""
    from dmg_bmi.training.checkpoint import load

    Path("checkpoint.safetensors").write_bytes(b"torn")
    load(Path("checkpoint.safetensors"))


def written_nowhere() -> None:
    """Write a file where there is a folder."""
    from dmg_bmi.io.atomic import write_atomic

    Path("output.nc").mkdir()
    write_atomic(Path("output.nc"), b"")


def spoilt_step() -> None:
    """Run a model step that gives no numbers."""
    from dmg_bmi.runtime.row_states import RowStates

    bmi = component()
    for name, value in zip(bmi.get_input_var_names(), (3.0, 8.0, 1.0), strict=True):
        bmi.set_value(name, np.array([value]))
    spoilt = np.full((len(bmi.component.group.outputs), 1), np.nan)
    with patch.object(RowStates, "step", lambda *_: spoilt):
        bmi.update()


EXAMPLES: dict[str, Callable[[], object]] = {
    "ConfigError": lambda: component(engin="eager"),
    "WriteError": written_nowhere,
    "BundleError": torn_bundle,
    "ImportDmgError": import_nothing,
    "ImportModelError": import_no_run,
    "StateError": lambda: set_state(1, 2, 3),
    "ForcingError": lambda: component().update(),
    "AttributeTableError": lambda: component(catchments={"ids": ["cat-7"], "attributes": {}}),
    "HydrofabricError": hydrofabric,
    "VariableError": lambda: component().get_var_units("rain"),
    "ValueShapeError": lambda: component().set_value(RAIN, np.zeros(2)),
    "TimeError": lambda: component(end_time=86400.0).update_until(2 * 86400.0),
    "TimeStepError": lambda: component().update_until(3600.0),
    "GridError": lambda: component().get_grid_x(0, np.zeros(1)),
    "NotInitializedError": lambda: DeltaModelBmi().update(),
    "ModelError": spoilt_step,
    "NextGenError": check_nothing,
    "TrainingError": torn_checkpoint,
}


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
