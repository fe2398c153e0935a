"""Reports in a real browser: opened, clicked through, zoomed; its console has nothing to complain of."""

import numpy as np
import pytest
from browser import click_on_map, drag, opened, wait

from dmg_bmi import hydrofabric
from dmg_bmi.cli import main
from dmg_bmi.io import netcdf
from dmg_bmi.io.timeseries import BasinDataset
from dmg_bmi.report.river import write_river_report
from dmg_bmi.synthetic import river_basin
from dmg_bmi.training import simulated

CONFIG = """
name: small <model>
data: {reader: synthetic, basins: 4, years: 3, seed: 3, attributes: [gauge_lat, elev_mean, aridity]}
periods: {train: [2000-10-01, 2001-09-30], test: [2001-10-01, 2003-09-30], spin_up: 60}
model:
  nn: {static: {name: mlp, hidden_sizes: [4]}, dynamic: {name: lstm, hidden_size: 4}}
  phy_model: {name: hbv, nmul: 2, routing: 3}
  roles: [{network: static}, {network: dynamic, inputs: [P, T, PET], attributes: [], dynamic: [BETA]}]
training: {max_steps: 3, batch_size: 6, seq_length: 100, ensemble: 2}
"""
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    (folder / "small.yaml").write_text(CONFIG)
    assert main(["train", str(folder / "small.yaml"), "--output", str(folder / "run")]) == 0
    return folder / "run"


def chosen(driver):
    return driver.execute_script("return Report.chosen()")


def view(driver):
    return driver.execute_script("return [Report.view.from, Report.view.to]")


def press(driver, css):
    driver.execute_script("arguments[0].click()", driver.find_element("css selector", css))


def numbers_drawn(driver, of, row):
    """What the first chart whose lines are named so has drawn of a line."""
    script = """
    const part = Report.content.flow.series[arguments[0]].steps;
    return Report.numbers(part, arguments[1], Report.content.ids.length);
    """
    return np.array(driver.execute_script(script, of, row), float)


def test_a_run_is_looked_at_basin_by_basin(run):
    assert main(["report", str(run), "--reference", str(run / "metrics.csv")]) == 0
    data = netcdf.read(run / "forcing.nc")
    with opened(run / "report.html") as driver:
        assert driver.title == "small <model>"
        first = chosen(driver)
        # the map
        other = next(k for k, name in enumerate(data.ids) if name != first)
        click_on_map(driver, other)
        assert chosen(driver) == data.ids[other]
        assert driver.current_url.endswith(f"#{data.ids[other]}")
        assert f"Basin {data.ids[other]}" in driver.find_element("css selector", "main").text
        # a list that is searched, and the ranked neighbours
        field = driver.find_element("css selector", "#place")
        field.clear()
        field.send_keys(data.ids[2], "\t")
        assert chosen(driver) == data.ids[2]
        press(driver, "#next")
        assert chosen(driver) != data.ids[2]
        # every colouring, both splits
        for select in ("#colours", "#split"):
            for value in driver.execute_script(
                f"return [...document.querySelector('{select}').options].map((o) => o.value)"
            ):
                driver.execute_script(
                    "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('change'))",
                    driver.find_element("css selector", select),
                    value,
                )
        # the hydrograph: dragged, moved by keys, whole
        before = view(driver)
        chart = driver.find_elements("css selector", ".u-over")[2]
        drag(driver, chart, 0.2, 0.5)
        assert view(driver)[1] - view(driver)[0] == pytest.approx(0.3 * (before[1] - before[0]), rel=0.1)
        driver.execute_script(
            "document.querySelectorAll('.chart[tabindex]')[1].dispatchEvent("
            "new KeyboardEvent('keydown', {key: 'ArrowRight', bubbles: true}))"
        )
        press(driver, "[data-view='the whole record']")
        assert view(driver) == pytest.approx(driver.execute_script("return Report.view.whole"))
        press(driver, "#log")
        # the table
        press(driver, "#basins th:nth-child(1) button")
        press(driver, "#basins tbody tr:nth-child(2)")
        assert chosen(driver) == sorted(data.ids)[1]
        # what is drawn is what was observed
        row = data.ids.index(chosen(driver))
        drawn = numbers_drawn(driver, "observed", row)
        np.testing.assert_allclose(drawn, data.target["Q"][:, row], rtol=1e-3, atol=1e-6)
        text = driver.find_element("css selector", "main").text
        for heading in ("Flow duration", "Seasons", "Water balance", "Storages", "2 members"):
            assert heading in text


@pytest.mark.parametrize(("width", "dark"), [(1280, True), (380, False)])
def test_nothing_sticks_out_in_the_dark_or_on_a_telephone(run, width, dark):
    assert main(["report", str(run)]) == 0
    with opened(run / "report.html", width=width, dark=dark) as driver:
        assert driver.execute_script("return document.documentElement.scrollWidth") <= width
        colour = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert (colour == "rgb(18, 24, 29)") is dark


def test_long_records_are_drawn_as_envelopes_until_one_zooms_in(run, monkeypatch):
    monkeypatch.setattr(simulated, "ROOM", {"flow": 12_000, "levels": 6_000, "daily": 3_000})
    assert main(["report", str(run)]) == 0
    with opened(run / "report.html") as driver:
        assert (
            "shows the lowest and highest value of each" in driver.find_element("css selector", "main").text
        )
        press(driver, "[data-view='the whole record']")
        first, last = driver.execute_script("return Report.content.flow.window")
        start = driver.execute_script("return Report.content.flow.start")
        driver.execute_script(
            "Report.setView(arguments[0], arguments[1])", start + first * 86400, start + last * 86400
        )
        assert view(driver) == [start + first * 86400, start + last * 86400]


@pytest.fixture(scope="module")
def basin(tmp_path_factory):
    """A folder as ``dmg-bmi couple`` leaves it: runoff of divides, flow of reaches, the hydrofabric."""
    folder = tmp_path_factory.mktemp("coupled")
    made = river_basin.generate(12, area=300.0, seed=7)
    made.write(folder / "basin.gpkg")
    fabric = hydrofabric.read(folder / "basin.gpkg")
    times = np.datetime64("2001-03-01", "s") + np.arange(60) * np.timedelta64(3600, "s")
    rng = np.random.default_rng(1)
    for name, ids, column, unit in (
        ("runoff", fabric.divides.ids, "Q", "m"),
        ("river", fabric.network.ids, "discharge", "m3 s-1"),
    ):
        values = rng.gamma(2.0, 1e-4 if unit == "m" else 5.0, (60, len(ids)))
        data = BasinDataset(ids, times, 3600.0, {column: values}, {}, {}, {column: unit})
        netcdf.write(folder / f"{name}.nc", data)
    return folder


def test_a_basin_runs_in_time_on_its_map(basin):
    path = write_river_report(basin)
    flow = netcdf.read(basin / "river.nc")
    with opened(path) as driver:
        # it begins when most water flows out
        outlet = chosen(driver)
        column = flow.ids.index(outlet)
        assert driver.execute_script("return Report.now()") == flow.forcing["discharge"][:, column].argmax()
        divide = driver.execute_script("return Report.content.divides.ids[3]")
        click_on_map(driver, "divide 3")
        assert chosen(driver) == divide
        driver.execute_script(
            "const s = document.getElementById('time'); s.value = 5; s.dispatchEvent(new Event('input'))"
        )
        assert driver.find_element("css selector", "#clock").text == "2001-03-01 05:00"
        press(driver, "#play")
        wait(driver, "return Report.now() !== 5")
        press(driver, "#play")
        script = "const v = Report.content.variables.find((v) => v.name === 'discharge');"
        script += "return Report.numbers(v.frames, 7, 60)"
        drawn = driver.execute_script(script)
        order = [flow.ids.index(i) for i in driver.execute_script("return Report.content.reaches.ids")]
        np.testing.assert_allclose(drawn, flow.forcing["discharge"][7, order], rtol=1e-3)
