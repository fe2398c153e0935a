"""Changes of a realization, and what a check finds then."""

from dmg_bmi.nextgen.check.realization import check

RUNOFF = "land_surface_water__runoff_depth"
P = "atmosphere_water__liquid_equivalent_precipitation_rate"


def module(document):
    return document["global"]["formulations"][0]["params"]


def with_params(**keys):
    return lambda document: module(document).update(keys)


def with_time(**keys):
    return lambda document: document["time"].update(keys)


def found(folder, level="error"):
    (fabric,) = (folder / "config").glob("*.gpkg")
    findings = check(folder / "config" / "realization.json", fabric)
    return [str(f) for f in findings if f.level == level]
