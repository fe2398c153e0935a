"""The dialects in which releases of dmg and dhbv2 wrote a configuration, read as that of dmg 1.5."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import ImportDmgError
from ...io.typed_yaml import read_yaml
from .section import Section

#: Sections that dmg 1.0 and before wrote, whose equations nobody has compared with those of today.
OLDER = {"dpl_model": "1.0", "dpl_model_config": "before 1.0"}
#: Sections and keys of dmg 1.1 to 1.3, and the names that they have since 1.4.
RENAMED_TOP = {"delta_model": "model"}
RENAMED_PARTS = {"phy_model": "phy", "nn_model": "nn"}
RENAMED_PAIR = {"high_freq_model": "hif_model", "low_freq_model": "lof_model"}
RENAMED_KEYS = {"model": "name"}
#: A value that Hydra takes from elsewhere in the file.
_REFERENCE = re.compile(r"\$\{([\w.]+)\}")


def read_configuration(path: Path) -> Section:
    """Read the configuration of a run of dmg 1.1 to 1.5 or dhbv2, as 1.5 writes it.

    Raises
    ------
    ImportDmgError, ConfigError
        If it cannot be read, is older, or holds a section under two names.
    """
    content = read_yaml(path)
    for key, version in OLDER.items():
        if key in content:
            raise ImportDmgError(
                f"{path}: section {key} is how dmg {version} wrote it; write it as 1.5 does, with the "
                "sections model.phy and model.nn, and check that its HBV is the one of 1.5"
            )
    content = _resolved(content, content)
    content = _renamed(content, RENAMED_TOP, f"{path}: ")
    model = content.get("model")
    if isinstance(model, Mapping):
        model = _renamed(model, RENAMED_PARTS, f"{path}: model.")
        for key in RENAMED_PARTS.values():
            if isinstance(model.get(key), Mapping):
                model[key] = _modern_part(model[key], f"{path}: model.{key}.")
        content["model"] = model
    return Section(content, path)


def _modern_part(part: Mapping[str, Any], place: str) -> dict[str, Any]:
    """Rename the keys of a section on equations or networks, and of the two models of a pair."""
    modern = _renamed(part, RENAMED_PAIR | RENAMED_KEYS, place)
    for key in RENAMED_PAIR.values():
        if isinstance(modern.get(key), Mapping):
            modern[key] = _renamed(modern[key], RENAMED_KEYS, f"{place}{key}.")
    return modern


def _renamed(section: Mapping[str, Any], names: Mapping[str, str], place: str) -> dict[str, Any]:
    twice = [old for old, new in names.items() if old in section and new in section]
    if twice:
        raise ImportDmgError(
            f"{place}{twice[0]} and {names[twice[0]]} are one key in two dialects; keep the one that was used"
        )
    return {names.get(key, key): value for key, value in section.items()}


def _resolved(value: Any, top: Mapping[str, Any]) -> Any:
    """Replace references to plain values of the same file; any other is left for its reader to refuse."""
    if isinstance(value, Mapping):
        return {key: _resolved(inner, top) for key, inner in value.items()}
    if isinstance(value, list):
        return [_resolved(inner, top) if isinstance(inner, Mapping) else inner for inner in value]
    match = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
    found: Any = top
    for name in match[1].split(".") if match else ():
        found = found.get(name) if isinstance(found, Mapping) else None
    return value if match is None or not _is_plain(found) else found


def _is_plain(value: Any) -> bool:
    # Nothing that holds other values: what refers to itself, or grows, is not followed.
    if isinstance(value, list):
        return all(isinstance(inner, str) for inner in value)
    return value is not None and not isinstance(value, Mapping)
