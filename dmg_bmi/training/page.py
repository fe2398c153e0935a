"""Pages of HTML that need no other file and run no script."""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Callable, Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any, BinaryIO

from ..io.atomic import write_atomic
from .checkpoint import writing

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 1080px;
  margin: 2em auto; padding: 0 1em }
h1 { font-size: 1.6em; margin-bottom: 0 } h2 { font-size: 1.15em; margin: 2em 0 .4em }
.quiet { color: #667 } img { max-width: 100%; height: auto } .wide { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 14px }
th, td { text-align: right; padding: .2em .8em; border-bottom: 1px solid #e4e8ec } th { color: #556 }
th:first-child, td:first-child, .facts td { text-align: left }
pre { background: #f5f7f9; padding: 1em; overflow-x: auto; font-size: 13px }
figure { margin: 1em 0 } figcaption { color: #667; font-size: 13px }
"""


def write_page(path: Path, title: str, body: Iterable[str]) -> Path:
    """Write a page, and return its path."""
    name = escape(title)
    page = (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{name}</title>\n'
        f"<style>{STYLE}</style>\n" + "\n".join(body) + "\n</html>\n"
    )
    with writing(path):
        write_atomic(path, page.encode("utf-8"))
    return path


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of text."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    lines = "".join("<tr>" + "".join(f"<td>{escape(c)}</td>" for c in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table><tr>{head}</tr>{lines}</table></div>'


def picture(caption: str, draw: Callable[..., None], *arguments: Any) -> str:
    """Return what `draw` saves into the file that is its first argument."""
    buffer: BinaryIO = io.BytesIO()
    draw(buffer, *arguments)
    buffer.seek(0)
    return _image(buffer.read(), caption)


def _image(png: bytes, caption: str) -> str:
    source = b64encode(png).decode("ascii")
    text = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f'<figure><img alt="{escape(caption)}" src="data:image/png;base64,{source}">{text}</figure>'
