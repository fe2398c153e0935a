"""Names of networks and process models, and what they build.

A model joins by one file and one line here; a third party's package joins by an entry
point in the group ``dmg_bmi.physics`` or ``dmg_bmi.nn_models``. A bundle or config can
only name what is registered, so reading a file never imports what the file says.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import entry_points
from inspect import signature
from typing import Any

from ..errors import ConfigError, alternatives
from ..foreign_code import running
from ..nn_models import Network
from ..physics import Catchment, ProcessModel

NETWORKS = {
    "lstm": "dmg_bmi.nn_models.lstm:LSTM",
    "mlp": "dmg_bmi.nn_models.mlp:MLP",
}
PROCESS_MODELS = {
    "exphydro": "dmg_bmi.physics.exphydro:ExpHydro",
    "gr4j": "dmg_bmi.physics.gr4j:GR4J",
    "hbv": "dmg_bmi.physics.hbv:HBV",
    "hbv_1_1p": "dmg_bmi.physics.hbv:HBV11p",
    "hbv_2": "dmg_bmi.physics.hbv:HBV2",
    "muskingum_cunge": "dmg_bmi.physics.routing.muskingum_cunge:MuskingumCunge",
    "photosynthesis": "dmg_bmi.physics.photosynthesis:Photosynthesis",
    "simhyd": "dmg_bmi.physics.simhyd:SIMHYD",
}
#: Options of any process model, see :class:`Catchment`.
AROUND = ("nmul", "routing")


def build_network(description: Mapping[str, Any], n_inputs: int, n_outputs: int) -> Network:
    """The network that `description` (a name and its options) stands for."""
    factory, options = _find("network", NETWORKS, "dmg_bmi.nn_models", description)
    return _call(factory, description, {"n_inputs": n_inputs, "n_outputs": n_outputs, **options})


def build_process_model(description: Mapping[str, Any]) -> ProcessModel:
    """The process model that `description` stands for, within :class:`Catchment` if it has `nmul`."""
    factory, options = _find("process model", PROCESS_MODELS, "dmg_bmi.physics", description)
    around: dict[str, Any] = {key: options.pop(key) for key in AROUND if key in options}
    column = _call(factory, description, options, AROUND)
    return _call(Catchment, description, {"column": column, **around}) if around else column


def build_process_models(described: Mapping[str, Mapping[str, Any]]) -> dict[str, ProcessModel]:
    """Process models by key; equal descriptions share one, unless it holds tensors."""
    models: dict[str, ProcessModel] = {}
    shared: dict[str, ProcessModel] = {}
    for key, description in described.items():
        model = build_process_model(description)
        models[key] = model if model.state_dict() else shared.setdefault(repr(description), model)
    return models


def descriptions(given: Mapping[str, Any] | None, default: str) -> dict[str, Mapping[str, Any]]:
    """By key: one description, which has a key ``name``, gets the key `default`."""
    if not given:
        return {}
    return {default: given} if "name" in given else dict(given)


def _find(
    kind: str, known: Mapping[str, str], group: str, description: Mapping[str, Any]
) -> tuple[Any, dict[str, Any]]:
    options = dict(description)
    name = options.pop("name", None)
    if name in known:
        module, _, attribute = known[name].partition(":")
        return getattr(import_module(module), attribute), options
    third_party = {point.name: point for point in entry_points(group=group)}
    if name in third_party:
        with running(f"{kind} {name!r} ({third_party[name].value}) cannot be imported", ConfigError):
            return third_party[name].load(), options
    names = ", ".join(sorted({*known, *third_party}))
    raise ConfigError(f"there is no {kind} named {name!r}; registered are {names}")


def _call(
    factory: Any, description: Mapping[str, Any], options: Mapping[str, Any], more: tuple[str, ...] = ()
) -> Any:
    known = signature(factory).parameters
    odd = [name for name in options if name not in known]
    if odd and not any(p.kind is p.VAR_KEYWORD for p in known.values()):
        own = [*(name for name in known if name not in ("n_inputs", "n_outputs")), *more]
        raise ConfigError(f"{description.get('name')}: no option {odd[0]!r}; {alternatives(odd[0], own)}")
    try:
        return factory(**options)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{description.get('name')}: {error}") from error
