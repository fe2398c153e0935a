"""What running a component costs: which modules it loads, in which encodings it lives."""

import os
import subprocess
import sys
import textwrap

import pytest

from dmg_bmi.model.bundle import Bundle

#: What only training, plots and files of the command line need.
UNWANTED = "dmg_bmi.training matplotlib netCDF4 cftime pandas h5py xarray tqdm scipy pytest"


def python(code, *arguments, cwd=None, **environment):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        cwd=cwd,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


RUN = """
    import sys
    import numpy as np
    from dmg_bmi import DeltaModelBmi

    bmi = DeltaModelBmi()
    bmi.initialize(sys.argv[1])
    for name, value in (("P", 4.0), ("T", 5.0), ("PET", 1.0)):
        bmi.set_value(name, np.full(bmi.get_grid_size(0), value))
    bmi.update()
    bmi.update_until(3 * bmi.get_time_step())
    assert np.isfinite(bmi.get_value("Q", np.empty(bmi.get_grid_size(0)))).all()
    bmi.finalize()
"""
BEFORE = """
    import sys
    import bmipy, numpy, safetensors.torch, torch, yaml

    brought = set(sys.modules)  # torch itself loads tqdm
"""
LOADED = """
    loaded = [name for name in sys.argv[-1].split() if name in sys.modules and name not in brought]
    assert not loaded, loaded
"""


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys\nbrought = ()\nimport dmg_bmi\nassert dmg_bmi.__version__\n"
    python(code + textwrap.dedent(LOADED), UNWANTED + " torch numpy yaml safetensors bmipy")


def test_running_a_component_loads_only_what_it_needs(configure):
    config = configure(n=2, restart={"write": "state.bin"}, time_step=3600.0)
    python(BEFORE + RUN + LOADED, config, UNWANTED)


def test_running_on_stored_forcing_loads_only_what_it_needs(configure, store, weather):
    folder = store(weather(5, 1), 1, "2000-01-01", 86400.0)
    config = configure(forcing=str(folder), start_time="2000-01-01")
    code = """
    from dmg_bmi import DeltaModelBmi

    bmi = DeltaModelBmi()
    bmi.initialize(sys.argv[1])
    bmi.update()
"""
    python(BEFORE + code + LOADED, config, UNWANTED)


ASCII = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}


def test_a_component_runs_where_text_is_ascii(bundles, configure, tmp_path):
    """As in the interpreter that NextGen embeds, whatever the locale says there."""
    model = bundles("lstm").load_model()
    info = Bundle(model, "Böden", "Wasser über Böden, 5 °C — 水", {"Gebiet": "Übersee"}).save(tmp_path / "b")
    config = configure(info, 2, restart={"write": "state.bin"})
    table = (tmp_path / "catchments-2.csv").read_text(encoding="utf-8")
    (tmp_path / "catchments-2.csv").write_text(table.replace("cat-8", "Bäche"), encoding="utf-8")
    config.write_text("# Läuft überall: 水\n" + config.read_text(encoding="utf-8"), encoding="utf-8")
    code = (
        RUN
        + """
    from dmg_bmi.errors import ForcingError

    bmi.initialize(sys.argv[1])
    print(bmi.get_component_name().encode("utf-8"))
    bmi.set_value("P", np.array([1.0, -1.0]))
    bmi.set_value("T", np.array([1.0, -1.0]))
    bmi.set_value("PET", np.array([1.0, 1.0]))
    try:
        bmi.update()
    except ForcingError as error:
        assert "B\\u00e4che" in str(error), ascii(str(error))
    else:
        raise AssertionError("negative precipitation is taken")
"""
    )
    assert python(code, config, **ASCII).strip() == repr("Böden".encode())


def test_the_folders_are_no_packages_of_their_own(tmp_path):
    """Installed, they are parts of dmg_bmi: a bare `physics` would meet others of that name."""
    code = """
        import importlib

        for name in ("physics", "nn_models", "bmi_configs"):
            importlib.import_module(f"dmg_bmi.{name}")
            try:
                importlib.import_module(name)
            except ModuleNotFoundError:
                continue
            raise AssertionError(f"{name} can be imported")
    """
    python(code, cwd=tmp_path)


@pytest.mark.parametrize("name", ["DeltaModel", "Bundle", "DeltaModelBmi", "bundle_component"])
def test_public_names_are_found_where_they_are_promised(name):
    import dmg_bmi

    assert name in dir(dmg_bmi)
    assert getattr(dmg_bmi, name).__name__ == name


def test_a_name_that_is_not_there_is_an_attribute_error():
    import dmg_bmi

    with pytest.raises(AttributeError, match="Nonsense"):
        _ = dmg_bmi.Nonsense


def test_names_stand_in_the_dictionary_of_their_module_where_bmi_tester_looks():
    code = """
        import sys
        import dmg_bmi
        from dmg_bmi.pymt import SHIPPED

        assert dmg_bmi.__dict__["DeltaModelBmi"] is dmg_bmi.DeltaModelBmi
        assert {*dmg_bmi.__all__} <= vars(dmg_bmi).keys()
        assert {*SHIPPED} <= sys.modules["dmg_bmi.pymt"].__dict__.keys()
        dmg_bmi.own = 3
        assert vars(dmg_bmi)["own"] == 3
    """
    python(code)
