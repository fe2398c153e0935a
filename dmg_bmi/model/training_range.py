"""The check of catchment attributes against their range in training."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import numpy as np

from ..arrays import BoolArray, FloatingArray
from ..errors import AttributeTableError
from .normalisation import FeatureStatistics

log = logging.getLogger("dmg_bmi")
#: Values farther outside the range in training than so many of its widths are refused.
FAR = 3.0


def outside(statistic: FeatureStatistics, values: FloatingArray) -> tuple[BoolArray, BoolArray]:
    """Mark the values a little outside the range in training, and those far outside."""
    distance = statistic.distance(values)
    far = distance > FAR
    return (distance > 0.0) & ~far, far


def describe_range(statistic: FeatureStatistics) -> str:
    """Describe the range in training for people."""
    return f"{statistic.lower:g} to {statistic.upper:g} {statistic.units}".rstrip()


def check_trained(
    statistics: Mapping[str, FeatureStatistics],
    attributes: Mapping[str, FloatingArray],
    ids: Sequence[str],
    warned: set[str],
) -> None:
    """Refuse attributes far outside the range in training; warn, with counts, of those a little outside.

    Parameters
    ----------
    statistics : mapping of str to FeatureStatistics
        Of the model; attributes without a range are not checked.
    attributes : mapping of str to array ``[rows]``
    ids : sequence of str
        Ids of the rows.
    warned : set of str
        Attributes not to warn of again; new ones are added.

    Raises
    ------
    AttributeTableError
        With the name of attribute, catchment and range.
    """
    warnings = {}
    for name, values in attributes.items():
        if name not in statistics:
            continue
        little, far = outside(statistics[name], values)
        if far.any():
            first, more = int(np.argmax(far)), int(far.sum()) - 1
            raise AttributeTableError(
                f"attribute {name!r} of catchment {ids[first]!r}{f' and {more} more' if more else ''} is "
                f"{values[first]:g}, far outside {describe_range(statistics[name])}, the range in training: "
                "look at its units, correct it, or leave the catchment out"
            )
        if little.any() and name not in warned:
            first, count = int(np.argmax(little)), int(little.sum())
            warnings[name] = (
                f"{name} of {count} of {len(ids)} (catchment {ids[first]!r}: {values[first]:g}, "
                f"trained with {describe_range(statistics[name])})"
            )
    if warnings:
        log.warning("attributes outside the range in training: %s", "; ".join(warnings.values()))
        warned.update(warnings)


def warn_left_out(
    statistics: Mapping[str, FeatureStatistics], attributes: Mapping[str, FloatingArray], ids: Sequence[str]
) -> None:
    """Warn, once and with counts, of basins left out of a training whose attributes lie far outside of it.

    They are scored all the same, but a component refuses them (see :func:`check_trained`).
    """
    far = {
        name: [ids[k] for k in np.flatnonzero(outside(statistics[name], values)[1]).tolist()]
        for name, values in attributes.items()
        if name in statistics
    }
    far = {name: basins for name, basins in far.items() if basins}
    if far:
        shown = "; ".join(
            f"{name} of {', '.join(basins[:5])}{', ...' if len(basins) > 5 else ''}"
            for name, basins in far.items()
        )
        log.warning(
            "%d of %d basins that are left out of the training lie far outside its range; a component would "
            "refuse them: %s",
            len(set().union(*far.values())),
            len(ids),
            shown,
        )
