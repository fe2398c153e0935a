"""Sections of a dmg configuration: values read by type, keys checked against those of the known versions."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ...errors import ImportDmgError

log = logging.getLogger("dmg_bmi")
#: Days before a window that are not compared: 1.1 to 1.4 and dhbv2 write one key, 1.5 the other.
WARMUP = ("warmup", "warm_up")
#: Keys of sections in dmg 1.1 to 1.5 or dhbv2. Any other may change the results.
_PHY = {
    *("name", "nmul", "dynamic_params", "routing", "forcings", "attributes", "variables", "comprout"),
    *("elev_threshold", "use_log_norm", "nearzero", "dy_drop", "stat_param_idx", "cache_states"),
    *("warm_up_states", "warmup_states", "muwts", "ann_opt", "ad_efficient", "parameters", *WARMUP),
}
_NN = {
    *("name", "forcings", "attributes", "hidden_size", "lstm_hidden_size", "mlp_hidden_size", "dropout"),
    *("lstm_dropout", "mlp_dropout", "lr", "learning_rate", "lr_scheduler", "lr_scheduler_params"),
    *("cache_states", "activation"),
}
_PAIR = {"hif_model", "lof_model"}
_PHY_OF_PAIR = _PHY | {
    *("window_size", "train_warmup", "agg_timescale_dim", "train_spatial_chunk_size"),
    *("simulate_spatial_chunk_size", "simulate_temporal_chunk_size"),
}
_NN_OF_PAIR = _NN | {"attributes2", "mlp2_hidden_size", "mlp2_dropout", "use_in_proj", "sub_batch_size"}
KNOWN = {
    "model.": {"rho", "use_log_norm", "output_unit", "flow_regime", "phy", "nn", *WARMUP},
    "model.phy.": _PHY | _PAIR,
    "model.nn.": _NN | _PAIR | {"sub_batch_size", "use_in_proj", "use_transfer"},
    **{f"model.phy.{key}.": _PHY_OF_PAIR for key in _PAIR},
    **{f"model.nn.{key}.": _NN_OF_PAIR for key in _PAIR},
    "multimodel.": {
        *("name", "model", "mosaic", "hidden_size", "dropout", "scaling_function", "forcings", "attributes"),
        *("lr", "learning_rate", "lr_scheduler", "lr_scheduler_params", "loss_function", "cache_states"),
        *(
            "loss_function_weights",
            "use_rb_loss",
            "loss_factor",
            "loss_lower_bound",
            "loss_upper_bound",
            "nn",
        ),
    },
}


@dataclass(frozen=True)
class Section:
    """A section of a configuration, whose values are read by type.

    Parameters
    ----------
    content : mapping
    path : Path
        File of the configuration.
    prefix : str
        Keys of the sections above, such as ``model.phy.``
    """

    content: Mapping[str, Any]
    path: Path
    prefix: str = ""

    def section(self, key: str) -> Section:
        """Return the section under a key."""
        inner = self.content.get(key)
        if not isinstance(inner, Mapping):
            if inner is not None:
                raise self.error(key, "a section")
            raise ImportDmgError(
                f"{self.path}: has no section {self.prefix}{key}; give the configuration of the run"
            )
        return Section(inner, self.path, f"{self.prefix}{key}.")

    def error(self, key: str, expected: str) -> ImportDmgError:
        """Return an error with the key, what is expected and the value found."""
        value = self.content.get(key)
        shown = repr(value) if len(repr(value)) < 60 else f"{repr(value)[:50]}..."
        hint = ""
        if isinstance(value, str) and "${" in value:
            hint = (
                "; Hydra has not resolved it: give the configuration that the run saved, or write the value"
            )
        return ImportDmgError(f"{self.path}: {self.prefix}{key} must be {expected}, not {shown}{hint}")

    def names(self, key: str) -> tuple[str, ...]:
        """Read a list of names; a single name or nothing counts as one."""
        value = self.content.get(key)
        if value is None:
            return ()
        if isinstance(value, str) and "${" not in value:
            return (value,)
        if not isinstance(value, list) or not all(isinstance(v, str) and "${" not in v for v in value):
            raise self.error(key, "a list of names")
        return tuple(value)

    def integer(self, *keys: str, default: int | None = None, least: int = 1) -> int:
        """Read a whole number, under one of several keys."""
        present = [key for key in keys if self.content.get(key) is not None]
        if not present and default is not None:
            return default
        key = (present or keys)[0]
        value = self.content.get(key)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise self.error(key, f"a whole number of at least {least}")
        if any(self.content[other] != value for other in present):
            raise self.error(key, f"the same as {self.prefix}{present[1]}")
        return value

    def flag(self, key: str, default: bool) -> bool:
        """Read true or false."""
        value = self.content.get(key, default)
        if not isinstance(value, bool):
            raise self.error(key, "true or false")
        return value

    def check_keys(self) -> None:
        """Refuse a misspelt key; warn of others that are not read."""
        known = KNOWN[self.prefix]
        for key in map(str, self.content):
            if key in known:
                continue
            close = get_close_matches(key.lower(), known, n=1, cutoff=0.75)
            if is_warmup(key):  # a wrong warm-up is a wrong model
                close = close or [name for name in WARMUP if name in known]
            if close:
                raise ImportDmgError(
                    f"{self.path}: {self.prefix}{key} is not a key of dmg 1.1 to 1.5 or dhbv2; "
                    f"did you mean {close[0]}?"
                )
            log.warning("%s: %s%s is unknown and not read", self.path, self.prefix, key)

    def misplaced(self, matches: Callable[[str], bool]) -> str | None:
        """Return the full name of a key with a value that matches, in this section or in those in it."""
        for key, value in self.content.items():
            inner = f"{self.prefix}{key}"
            if isinstance(value, Mapping):
                if found := Section(value, self.path, f"{inner}.").misplaced(matches):
                    return found
            elif matches(str(key)) and value:
                return inner
        return None

    def require_placed(self, wanted: str, matches: Callable[[str], bool]) -> None:
        """Refuse a key that dmg would not read where it is; `wanted` is where it does."""
        if elsewhere := self.misplaced(matches):
            raise ImportDmgError(f"{self.path}: {elsewhere} is not where dmg reads it; write {wanted}")


def is_warmup(key: str) -> bool:
    """Tell whether a key looks like the days before a window that are not compared."""
    plain = key.lower().replace("_", "").replace("-", "")
    return "warmup" in plain or "spinup" in plain
