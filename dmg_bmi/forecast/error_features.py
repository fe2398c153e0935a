"""What a learned error sees of each forecast: recent errors, flow and weather up to the lead, season."""

from __future__ import annotations

import numpy as np

from ..arrays import FloatArray
from .hindcast import RECENT, Hindcast

#: Added to flow before its logarithm is taken, as a share of the typical flow.
FLOOR = 0.05
#: Steps before the issue whose errors are seen, and before each lead whose flow and weather are.
AGES, BACK = (1, 2, 3, 5, 8), (0, 1, 2, 3)
#: Typical flows beyond which an error counts little more.
LARGE = 3.0
YEAR = np.timedelta64(31_556_952, "s")


def logarithm(flow: FloatArray, typical: FloatArray) -> FloatArray:
    """Return the logarithm of flow over the typical one, finite where nothing flows."""
    return np.log(np.maximum(flow, 0.0) / typical + FLOOR)


def features(forecasts: Hindcast) -> FloatArray:
    """Return the features ``[issues, leads, basins, features]``, float32; zero where one is missing.

    None says which basin it is, so that what is learned holds for others too.
    """
    shape = forecasts.observed.shape
    columns = [*_errors(forecasts), *_course(forecasts)]
    result = np.empty((*shape, len(columns)), dtype=np.float32)
    for k, values in enumerate(columns):
        result[..., k] = np.nan_to_num(values)
    return result


def _errors(forecasts: Hindcast) -> list[FloatArray]:
    """Return what is the same at all leads: latest errors and flows, and what the analysis moved."""
    typical, observed = forecasts.typical, forecasts.observed_recent
    columns = []
    for age in AGES:
        seen = observed[:, [RECENT - age]]
        columns += [np.isfinite(seen).astype(np.float64), logarithm(seen, typical)]
        for simulated in (forecasts.open_loop.recent, forecasts.analysed.recent):
            flow = simulated[:, [RECENT - age]]
            columns.append(logarithm(seen, typical) - logarithm(flow, typical))
            columns.append(np.tanh((seen - flow) / (LARGE * typical)))
    columns += [values[:, [k]] for values in forecasts.moved.values() for k in range(values.shape[1])]
    season = 2 * np.pi * ((forecasts.issued - np.datetime64(0, "s")) / YEAR)
    return columns + [wave(season)[:, None, None] for wave in (np.sin, np.cos)]


def _course(forecasts: Hindcast) -> list[FloatArray]:
    """Return what changes from lead to lead: flow and weather up to it, and the lead itself."""
    leads = forecasts.observed.shape[1]
    ahead = RECENT + np.arange(leads)
    columns = []
    for kind in (forecasts.open_loop, forecasts.analysed):
        flow = logarithm(np.concatenate([kind.recent, kind.flow], axis=1), forecasts.typical)
        columns += [flow[:, ahead - back] for back in BACK]
        columns.append(flow[:, ahead] - flow[:, [RECENT - 1]])
    for name, series in forecasts.weather.items():
        # Rain of other sources and of the next step, P_next, is rain too.
        shown = np.log1p(series) if name.partition("_")[0] == "P" else series
        columns += [shown[:, ahead - back] for back in BACK]
        if name == "P":
            total = np.pad(series, ((0, 0), (1, 0), (0, 0))).cumsum(1)
            columns.append(np.log1p(total[:, ahead + 1] - total[:, ahead + 1 - (RECENT - 1)]))
            columns.append(np.log1p(total[:, ahead + 1] - total[:, [RECENT]]))
    lead = np.arange(leads, dtype=np.float64)[:, None]
    return [*columns, np.exp(-lead / 1.5), np.log1p(lead)]
