"""What roles see of the data, where a configuration leaves it to them: ``all``, or nothing said."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from ..errors import ConfigError
from ..model.registry import descriptions
from ..model.roles import MixInputRole, MixOutputRole, OutputRole
from .config import Model

log = logging.getLogger("dmg_bmi")
#: The inputs of a role that sees all forcings of the data, or the sources of one that mixes all.
ALL = "all"


def with_inputs(spec: Model, forcings: Sequence[str], attributes: Sequence[str]) -> Model:
    """Fill in what the roles of a model see of the data.

    A role without ``attributes`` sees all of them, one with ``inputs: all`` all forcings. One with
    ``mixes: {P: all}`` mixes all sources ``P_<name>`` of the data; without any it is left
    out with its network.

    Raises
    ------
    ConfigError
        If such a role also mixes what has sources.
    """
    roles, left_out = [], set[str]()
    for role in spec.roles:
        filled = {"attributes": tuple(attributes), **role}
        kind = role.get("role")
        if filled.get("inputs", ALL if kind in (OutputRole.kind, MixOutputRole.kind) else ()) == ALL:
            filled["inputs"] = tuple(forcings)
        mixes = role.get("mixes")
        if kind == MixInputRole.kind and isinstance(mixes, dict):
            filled["mixes"] = {n: _sources(n, forcings) if of == ALL else of for n, of in mixes.items()}
            alone = [name for name, of in mixes.items() if of == ALL and not filled["mixes"][name]]
            key = str(role.get("network", "nn"))
            if alone and len(alone) < len(mixes):
                raise ConfigError(f"roles: the data have one source of {alone[0]}, which {key!r} mixes")
            if alone:
                left_out.add(key)
                continue
        roles.append(filled)
    if left_out:
        log.info("the data have one source of what is mixed: left out are %s", ", ".join(sorted(left_out)))
    networks = descriptions(spec.nn, "nn")
    return replace(spec, nn={key: networks[key] for key in networks if key not in left_out}, roles=roles)


def _sources(name: str, forcings: Sequence[str]) -> tuple[str, ...]:
    return tuple(other for other in forcings if other.startswith(f"{name}_"))
