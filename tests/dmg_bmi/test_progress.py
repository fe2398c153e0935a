"""Long work says how far it is, in the way of the place that it says it to."""

import logging
import sys

import pytest

from dmg_bmi import progress


@pytest.fixture
def minute(monkeypatch):
    """A minute passes at every tenth unit of the work."""
    now = [0.0]
    monkeypatch.setattr("tqdm.std.time", lambda: now[0])

    def work(bar, units):
        with bar:
            for _ in range(units):
                now[0] += 6.0
                bar.update()

    return work


def test_a_log_gets_a_line_a_minute_with_speed_and_time_left(minute, caplog, capsys):
    with caplog.at_level(logging.INFO, "dmg_bmi"):
        minute(progress.progress(40, "training", "step"), 40)
    lines = [record.getMessage() for record in caplog.records]
    assert [line.split(",")[0] for line in lines] == [
        "training: 10 of 40 (25 %)",
        "training: 20 of 40 (50 %)",
        "training: 30 of 40 (75 %)",
        "training: 40 of 40 (100 %)",
    ]
    assert "03:00 left" in lines[0]
    assert "6.00s/step" in lines[0]
    assert capsys.readouterr().err == ""


def test_short_work_leaves_no_line(minute, caplog):
    with caplog.at_level(logging.INFO, "dmg_bmi"):
        minute(progress.progress(9, "run", "step"), 9)
    assert not caplog.records


def test_a_terminal_gets_a_bar_unless_it_is_told_to_be_quiet(minute, monkeypatch, caplog, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    minute(progress.progress(20, "run", "step"), 20)
    assert "run: 100%" in capsys.readouterr().err
    handler = logging.StreamHandler()
    handler.setLevel(logging.WARNING)
    monkeypatch.setattr(logging.getLogger(), "handlers", [handler])
    minute(progress.progress(20, "run", "step"), 20)
    assert capsys.readouterr().err == ""


def test_what_other_processes_show_is_not_shown_twice(minute, caplog, capsys):
    with caplog.at_level(logging.INFO, "dmg_bmi"):
        minute(progress.progress(40, "training", "step", shown=False), 40)
    assert not caplog.records
    assert capsys.readouterr().err == ""
