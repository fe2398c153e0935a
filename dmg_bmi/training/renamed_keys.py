"""Keys and values of training configurations that were renamed.

Configurations that bundles and run folders hold may still have the old ones: they are translated as they
are read. In a file that a user writes they are refused with the new name, so there is one vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import ConfigError

#: Keys of the section ``training``.
KEYS = {
    "average": "ema",
    "batch": "batch_size",
    "check_every": "validate_every",
    "clip": "clip_gradient_norm",
    "members": "ensemble",
    "recompute": "activation_checkpointing",
    "save_every": "checkpoint_every",
    "steps": "max_steps",
    "truncate": "tbptt",
    "window": "seq_length",
}
#: Values of ``data.missing_forcing``.
MISSING_FORCING = {"leave_out": "drop"}


def refuse(content: Mapping[str, Any], source: str) -> None:
    """Check that a configuration has no old key or value.

    Raises
    ------
    ConfigError
        Naming the new one.
    """
    if old := [key for key in _section(content, "training") if key in KEYS]:
        told = "; ".join(f"training.{key} is now {KEYS[key]}" for key in old)
        raise ConfigError(f"{source}: {told}; rename {'them' if old[1:] else 'it'}")
    missing = _section(content, "data").get("missing_forcing")
    if isinstance(missing, str) and missing in MISSING_FORCING:
        raise ConfigError(
            f"{source}: data.missing_forcing: {missing} is now {MISSING_FORCING[missing]}; rename it"
        )


def translate(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a stored configuration with the new keys and values in place of the old ones."""
    result = dict(content)
    if training := _section(content, "training"):
        result["training"] = {KEYS.get(key, key): value for key, value in training.items()}
    data = _section(content, "data")
    missing = data.get("missing_forcing")
    if isinstance(missing, str) and missing in MISSING_FORCING:
        result["data"] = {**data, "missing_forcing": MISSING_FORCING[missing]}
    return result


def current_key(key: str) -> str:
    """Return the name that ``section.key`` has now."""
    section, _, name = key.partition(".")
    return f"training.{KEYS[name]}" if section == "training" and name in KEYS else key


def _section(content: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = content.get(name)
    return section if isinstance(section, Mapping) else {}
