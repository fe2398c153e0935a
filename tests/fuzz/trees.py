"""Plain data changed in one place: what a byte-wise mutation of YAML or JSON seldom reaches."""

from __future__ import annotations

import json
import random
from typing import Any

import yaml

#: Values that are wrong in most places, and right in some.
ODD: tuple[Any, ...] = (
    *(-1, 0, 3, 10**6, 10**12, 1e308, 1e-320, float("nan"), float("inf"), None, True, "", "x", "../x"),
    *([], {}, [None], {"name": "mlp"}, "os:system", "hbv_2", ["P", "P"], -1.0, 2**63, 10**400, -(2**63)),
    *("2000-13-45", "9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+12:00", "\ud800", "a" * 300, "\0"),
    *("/dev/zero", "{id}", "{", "{0.__class__}", "%s", "1e400", " ", "[", "cpu:99", [[[[]]]], [1, "x"]),
)


def forged(content: Any, r: random.Random) -> Any:
    """Plain data with another value in one place, or one key less, twice, or of another name."""
    if r.random() < 0.12 or not isinstance(content, (dict, list)) or not content:
        return r.choice(ODD)
    if isinstance(content, list):
        items = list(content)
        where = r.randrange(len(items))
        if r.random() < 0.08:
            items.insert(where, items[r.randrange(len(items))])
        elif r.random() < 0.05:
            del items[where]
        else:
            items[where] = forged(items[where], r)
        return items
    new = dict(content)
    key = r.choice([*new])
    way = r.random()
    if way < 0.05:
        del new[key]
    elif way < 0.10:
        new[r.choice((*ODD[:4], "", "x", f"{key}x", str(key).upper()))] = new.pop(key)
    elif way < 0.18:
        new[key] = new[r.choice([*new])]
    else:
        new[key] = forged(new[key], r)
    return new


def mutate(content: bytes, limit: int, seed: int) -> bytes | None:
    """Change YAML or JSON as plain data; None where it is neither, or becomes too long."""
    r = random.Random(seed)
    as_json = content.lstrip()[:1] in (b"{", b"[")
    try:
        tree = json.loads(content) if as_json else yaml.load(content, yaml.CSafeLoader)
        for _ in range(r.choice((1, 1, 2, 4))):
            tree = forged(tree, r)
        text = json.dumps(tree) if as_json else yaml.dump(tree, Dumper=yaml.CSafeDumper, sort_keys=False)
        new = text.encode("utf-8", "surrogatepass")
    except (ValueError, RecursionError, TypeError, yaml.YAMLError, AttributeError, OverflowError):
        return None
    return new if len(new) <= limit else None
