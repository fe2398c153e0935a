"""The registry of networks and process models: names, and the classes they build.

A model joins by one file and one line here; a third-party package joins by an entry
point in the group ``dmg_bmi.physics`` or ``dmg_bmi.nn_models``. A bundle or configuration
can only name registered models, so reading a file never imports what the file says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from inspect import signature
from typing import Any

from ..errors import ConfigError, alternatives
from ..foreign_code import running
from ..nn_models import Network
from ..physics import Catchment, ProcessModel

NETWORKS = {
    "cuda_lstm": "dmg_bmi.nn_models.cuda_lstm:CudaLSTM",
    "ea_lstm": "dmg_bmi.nn_models.ea_lstm:EALSTM",
    "lstm": "dmg_bmi.nn_models.lstm:LSTM",
    "mlp": "dmg_bmi.nn_models.mlp:MLP",
    "mts_lstm": "dmg_bmi.nn_models.mts_lstm:MTSLSTM",
}
PROCESS_MODELS = {
    "exphydro": "dmg_bmi.physics.exphydro:ExpHydro",
    "gr4j": "dmg_bmi.physics.gr4j:GR4J",
    "hbv": "dmg_bmi.physics.hbv:HBV",
    "hbv_1_1p": "dmg_bmi.physics.hbv:HBV11p",
    "hbv_2": "dmg_bmi.physics.hbv:HBV2",
    "hbv_2_1_hourly": "dmg_bmi.physics.hbv_hourly:HBV21Hourly",
    "hbv_2_hourly": "dmg_bmi.physics.hbv_hourly:HBV2Hourly",
    "muskingum_cunge": "dmg_bmi.physics.routing.muskingum_cunge:MuskingumCunge",
    "photosynthesis": "dmg_bmi.physics.photosynthesis:Photosynthesis",
    "simhyd": "dmg_bmi.physics.simhyd:SIMHYD",
}
#: Options that any process model takes, see :class:`Catchment`.
CATCHMENT_OPTIONS = ("nmul", "routing")


def build_network(description: Mapping[str, Any], n_inputs: int, n_outputs: int) -> Network:
    """Build the network of a description, which is a name and options."""
    factory, options = _find("network", NETWORKS, "dmg_bmi.nn_models", description)
    return _construct(factory, description, {"n_inputs": n_inputs, "n_outputs": n_outputs, **options})


def build_process_model(description: Mapping[str, Any]) -> ProcessModel:
    """Build the process model of a description, in a :class:`Catchment` if it has `nmul` or `routing`."""
    factory, options = _find("process model", PROCESS_MODELS, "dmg_bmi.physics", description)
    outer: dict[str, Any] = {key: options.pop(key) for key in CATCHMENT_OPTIONS if key in options}
    column = _construct(factory, description, options, CATCHMENT_OPTIONS)
    return _construct(Catchment, description, {"column": column, **outer}) if outer else column


def build_process_models(described: Mapping[str, Mapping[str, Any]]) -> dict[str, ProcessModel]:
    """Build process models by key; equal descriptions share one, unless it holds tensors."""
    models: dict[str, ProcessModel] = {}
    shared: dict[str, ProcessModel] = {}
    for key, description in described.items():
        model = build_process_model(description)
        models[key] = model if model.state_dict() else shared.setdefault(repr(description), model)
    return models


def descriptions(plain: Mapping[str, Any] | None, default: str) -> dict[str, Mapping[str, Any]]:
    """Return descriptions by key; a single one, which has a key ``name``, gets the key `default`."""
    if not plain:
        return {}
    return {default: plain} if "name" in plain else dict(plain)


def load_registered(kind: str, builtin: Mapping[str, Any], group: str, name: Any) -> Any:
    """Return what is registered under a name, in `builtin` or by an entry point of `group`.

    Parameters
    ----------
    kind : str
        For messages.
    builtin : mapping
        Name to the object itself, or to ``module:attribute``.
    group : str
    name : str

    Raises
    ------
    ConfigError
        If nothing is registered under `name`, or it cannot be imported.
    """
    if name in builtin:
        if not isinstance(builtin[name], str):
            return builtin[name]
        module, _, attribute = builtin[name].partition(":")
        return getattr(import_module(module), attribute)
    third_party = {point.name: point for point in entry_points(group=group)}
    if name in third_party:
        with running(f"{kind} {name!r} ({third_party[name].value}) cannot be imported", ConfigError):
            return third_party[name].load()
    names = ", ".join(registered_names(builtin, group))
    raise ConfigError(f"no {kind} named {name!r}; registered: {names}")


def registered_names(builtin: Iterable[str], group: str) -> list[str]:
    """Return the names in `builtin` and those of the entry points of `group`, in alphabetical order."""
    return sorted({*builtin, *(point.name for point in entry_points(group=group))})


def _find(
    kind: str, shipped: Mapping[str, str], group: str, description: Mapping[str, Any]
) -> tuple[Any, dict[str, Any]]:
    options = dict(description)
    return load_registered(kind, shipped, group, options.pop("name", None)), options


def _construct(
    factory: Any, description: Mapping[str, Any], options: Mapping[str, Any], more: tuple[str, ...] = ()
) -> Any:
    parameters = signature(factory).parameters
    unknown = [name for name in options if name not in parameters]
    if unknown and not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        available = [*(name for name in parameters if name not in ("n_inputs", "n_outputs")), *more]
        problem = f"no option {unknown[0]!r}; {alternatives(unknown[0], available)}"
        raise ConfigError(f"{description.get('name')}: {problem}")
    try:
        return factory(**options)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{description.get('name')}: {error}") from error
