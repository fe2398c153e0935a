"""What tests of preparing read of the folders, and write for them."""

import csv

MODEL = "DMG_BMI"


def catchments(folder):
    with open(folder / "config" / "cat_config" / MODEL / "catchments.csv", encoding="utf-8") as file:
        return {row["id"]: row for row in csv.DictReader(file)}
