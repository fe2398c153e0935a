"""Attributes of catchments compared with those that a model was trained with."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import numpy as np

from ..arrays import BoolArray, FloatingArray
from ..errors import AttributeTableError
from .normalisation import FeatureStatistics

log = logging.getLogger("dmg_bmi")
#: Widths of the range in training; what lies farther outside than so many is refused.
FAR = 3.0


def outside(statistic: FeatureStatistics, values: FloatingArray) -> tuple[BoolArray, BoolArray]:
    """Which values lie a little and which far outside of the range in training."""
    distance = statistic.distance(values)
    far = distance > FAR
    return (distance > 0.0) & ~far, far


def seen(statistic: FeatureStatistics) -> str:
    """The range in training, for people."""
    return f"{statistic.lower:g} to {statistic.upper:g} {statistic.units}".rstrip()


def check_trained(
    statistics: Mapping[str, FeatureStatistics],
    attributes: Mapping[str, FloatingArray],
    ids: Sequence[str],
    told: set[str],
) -> None:
    """Refuse attributes far outside of the range in training; warn, with counts, of those a little outside.

    Parameters
    ----------
    statistics : mapping of str to Statistic
        Of the model; of what has no range nothing is said.
    attributes : mapping of str to array ``[rows]``
    ids : sequence of str
        Of the rows.
    told : set of str
        Attributes of which it has been warned, and is not again; new ones are added.

    Raises
    ------
    AttributeTableError
        Naming attribute, catchment and range.
    """
    news = {}
    for name, values in attributes.items():
        if name not in statistics:
            continue
        little, far = outside(statistics[name], values)
        if far.any():
            first, more = int(np.argmax(far)), int(far.sum()) - 1
            raise AttributeTableError(
                f"attribute {name!r} of catchment {ids[first]!r}{f' and {more} more' if more else ''} is "
                f"{values[first]:g}, far outside of {seen(statistics[name])}, the range in training: "
                "look at its units, correct it, or leave the catchment out"
            )
        if little.any() and name not in told:
            first, count = int(np.argmax(little)), int(little.sum())
            news[name] = (
                f"{name} of {count} of {len(ids)} (catchment {ids[first]!r}: {values[first]:g}, "
                f"trained with {seen(statistics[name])})"
            )
    if news:
        log.warning("attributes outside of the range in training: %s", "; ".join(news.values()))
        told.update(news)
