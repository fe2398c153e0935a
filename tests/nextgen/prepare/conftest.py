"""Plans over the Juniata River, and its hydrofabric changed."""

import shutil
import sqlite3

import numpy as np
import pytest

from dmg_bmi.nextgen.prepare.prepare import Plan


@pytest.fixture
def plan(bundle, juniata, tmp_path):
    """Make ``plan(**keys)`` of the Juniata River, three days of June."""

    def make(**keys) -> Plan:
        given = {
            "bundle": str(bundle("hybrid")),
            "output": tmp_path / "run",
            "hydrofabric": juniata.hydrofabric,
            "start": np.datetime64("2010-06-01"),
            "end": np.datetime64("2010-06-04"),
            "forcing": juniata.forcing,
            "pet": "oudin",
            "missing_attributes": "neighbours",
        }
        return Plan(**(given | keys))

    return make


@pytest.fixture
def changed(juniata, tmp_path):
    """A function that copies the Juniata's hydrofabric, changed by SQL statements with values."""

    def make(*statements):
        path = tmp_path / "changed.gpkg"
        shutil.copyfile(juniata.hydrofabric, path)
        with sqlite3.connect(path) as file:
            for (trigger,) in file.execute(
                "select name from sqlite_master where type = 'trigger'"
            ).fetchall():
                file.execute(f'drop trigger "{trigger}"')
            for statement, values in statements:
                file.execute(statement, values)
        return path

    return make
