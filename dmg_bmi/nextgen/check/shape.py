"""Types of the values of a realization, checked once before anything reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...errors import NextGenError

#: An object is a mapping of key to shape, ``*`` for all keys; a list holds the shape of its items;
#: a tuple the types that a value may have. What is not named here is not read.
TEXT, NUMBER = (str,), (int, float)
_PARAMS: dict[str, Any] = {
    "init_config": TEXT,
    "python_type": TEXT,
    "module_path": TEXT,
    "main_output_variable": TEXT,
    "variables_names_map": {"*": TEXT},
    "model_params": {},
    "mass_balance": {"frequency": NUMBER, "tolerance": NUMBER},
    "output_variables": [TEXT],
    "output_header_fields": [TEXT],
}
#: Keys that may be null as well as absent.
_OPTIONAL = {
    "variables_names_map",
    "model_params",
    "mass_balance",
    "output_variables",
    "output_header_fields",
}
_MODULE = {"params": _PARAMS}
_GROUP = {"formulations": [{"params": {**_PARAMS, "modules": [_MODULE]}}]}
REALIZATION: dict[str, Any] = {
    "global": _GROUP,
    "catchments": {"*": _GROUP},
    "time": {},
    "layers": [{}],
    "output": {"catchment": {}},
}


def require(document: Any, source: str, shape: Any = None, where: str = "") -> None:
    """Refuse a realization that has another type of value than `ngen` reads there.

    Raises
    ------
    NextGenError
        Naming file and place.
    """
    shape = REALIZATION if shape is None else shape
    if isinstance(shape, tuple):
        if not isinstance(document, shape) or (isinstance(document, bool) and bool not in shape):
            raise _wrong(source, where, "text" if str in shape else "a number", document)
    elif isinstance(shape, list):
        if not isinstance(document, list):
            raise _wrong(source, where, "a list", document)
        for k, item in enumerate(document):
            require(item, source, shape[0], f"{where}[{k}]")
    else:
        if not isinstance(document, Mapping):
            raise _wrong(source, where, "an object of keys and values", document)
        for key, value in document.items():
            inner = shape.get(key, shape.get("*"))
            if inner is not None and not (value is None and key in _OPTIONAL):
                require(value, source, inner, f"{where}.{key}" if where else str(key))


def _wrong(source: str, where: str, expected: str, value: Any) -> NextGenError:
    shown = "null" if value is None else repr(value)
    shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
    return NextGenError(f"{source}: {where or 'the file'} must be {expected}, not {shown}")
