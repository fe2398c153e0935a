"""Series of several basins: shapes are checked, parts are the parts asked for."""

from dataclasses import replace

import numpy as np
import pytest

from dmg_bmi.errors import ConfigError
from dmg_bmi.io.timeseries import BasinDataset, day_of_year


@pytest.fixture
def dataset() -> BasinDataset:
    times = np.arange("2000-02-27", "2000-03-08", dtype="datetime64[D]").astype("datetime64[s]")
    values = np.arange(30.0).reshape(10, 3)
    return BasinDataset(
        ids=("a", "b", "c"),
        times=times,
        step=86400.0,
        forcing={"P": values},
        attributes={"area": np.array([1.0, 2.0, 3.0])},
        target={"Q": values + 100.0},
    )


def test_a_period_holds_the_steps_that_begin_in_it(dataset):
    part = dataset.period(np.datetime64("2000-02-28"), np.datetime64("2000-03-01"))
    assert [str(t) for t in part.times] == ["2000-02-28T00:00:00", "2000-02-29T00:00:00"]
    np.testing.assert_array_equal(part.forcing["P"], [[3, 4, 5], [6, 7, 8]])
    np.testing.assert_array_equal(part.target["Q"], [[103, 104, 105], [106, 107, 108]])


def test_a_period_beyond_the_data_is_what_there_is(dataset):
    part = dataset.period(np.datetime64("1990-01-01"), np.datetime64("2000-02-28"))
    assert len(part.times) == 1


def test_a_period_without_data_is_refused_with_what_there_is(dataset):
    with pytest.raises(ConfigError, match=r"no data from 1990.* available: 2000-02-27"):
        dataset.period(np.datetime64("1990-01-01"), np.datetime64("1991-01-01"))


def test_basins_come_in_the_order_asked_for(dataset):
    part = dataset.basins(["c", "a"])
    assert part.ids == ("c", "a")
    np.testing.assert_array_equal(part.forcing["P"][0], [2, 0])
    np.testing.assert_array_equal(part.attributes["area"], [3, 1])
    np.testing.assert_array_equal(part.target["Q"][0], [102, 100])


def test_an_unknown_basin_is_refused_with_those_that_exist(dataset):
    with pytest.raises(ConfigError, match="no basin d; available: a, b, c"):
        dataset.basins(["a", "d"])


def test_series_that_do_not_fit_are_refused(dataset):
    with pytest.raises(ValueError, match=r"P has shape \(9, 3\)"):
        BasinDataset(("a", "b", "c"), dataset.times, 86400.0, {"P": np.zeros((9, 3))}, {}, {})
    with pytest.raises(ValueError, match=r"attribute area has shape \(2,\)"):
        BasinDataset(("a", "b", "c"), dataset.times, 86400.0, {}, {"area": np.zeros(2)}, {})


def test_days_are_counted_from_the_first_of_january():
    times = np.array(["2000-01-01T05", "2000-12-31", "2001-12-31", "2000-03-01"], dtype="datetime64[s]")
    np.testing.assert_array_equal(day_of_year(times), [1, 366, 365, 61])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"forcing": {"P": np.zeros((10, 2))}}, r"P has shape \(10, 2\); times and basins make \(10, 3\)"),
        ({"target": {"Q": np.zeros((9, 3))}}, r"Q has shape \(9, 3\)"),
        ({"attributes": {"area": np.zeros(2)}}, r"attribute area has shape \(2,\); there are 3 basins"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(dataset, change, reason):
    with pytest.raises(ValueError, match=reason):
        replace(dataset, **change)


class Counted(str):
    """An id that counts how often ids were compared."""

    compared = 0
    __hash__ = str.__hash__

    def __eq__(self, other):
        Counted.compared += 1
        return str.__eq__(self, other)


def test_ids_are_found_in_time_that_grows_with_their_number_alone(dataset):
    count = 2000
    ids = tuple(Counted(f"cat-{k}") for k in range(count))
    many = replace(dataset.columns([0] * count), ids=ids)
    Counted.compared = 0
    part = many.basins(Counted(name) for name in reversed(ids))
    assert part.ids == ids[::-1]
    with pytest.raises(ConfigError, match=r"no basin cat-x; .*available: cat-0, .* \(2000 in all\)"):
        many.basins([Counted("cat-x")])
    assert Counted.compared < 20 * count
