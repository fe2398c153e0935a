"""The HTML of a report: style, scripts, text and numbers in one file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

from ..io.atomic import write_atomic
from .payload import Payload

#: Scripts of every page, in their order; a page adds its own.
SHARED = ("uPlot.iife.min.js", "charts.js", "map.js")
STYLES = ("uPlot.min.css", "report.css")
#: A page may run what stands in it and load nothing at all.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"


def write_page(
    path: Path, title: str, scripts: Sequence[str], content: Mapping[str, Any], payload: Payload
) -> Path:
    """Write a report, and return its path.

    Parameters
    ----------
    path : Path
    title : str
    scripts : sequence of str
        Of :mod:`dmg_bmi.report.assets`, beyond those of every page.
    content : mapping
        What the scripts draw, as JSON; it names parts of `payload`.
    payload : Payload
    """
    styles = "\n".join(asset(name) for name in STYLES)
    code = "\n".join(f"<script>\n{asset(name)}\n</script>" for name in (*SHARED, *scripts))
    # In a script only "</" and "<!--" mean anything to HTML.
    text = json.dumps(content, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    page = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<title>{escape(title)}</title>
<style>
{styles}
</style>
</head>
<body>
<noscript>This report is drawn by scripts in this file, which this browser does not run.</noscript>
<main id="report" aria-busy="true"></main>
<script type="application/json" id="content">{text}</script>
<script type="text/plain" id="numbers">{payload.text()}</script>
{code}
</body>
</html>
"""
    write_atomic(path, page.encode("utf-8"))
    return path


def asset(name: str) -> str:
    """Read a style or script of the package."""
    return resources.files(__package__).joinpath("assets", name).read_text(encoding="utf-8")
