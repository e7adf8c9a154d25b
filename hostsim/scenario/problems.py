"""From pydantic's errors to Problems: dotted key, value got, value wanted, an example, and the nearest name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, PlainSerializer, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from hostsim.core.errors import LISTED_PROBLEMS_MAX, Problem
from hostsim.core.units import shown
from hostsim.scenario.unmodelled import refusal

LISTED_MAX = 30
LONGEST = 100
"""Only so many characters are compared: the time grows with the square of the length."""


def nearest(name: str, valid: Iterable[str]) -> str:
    """The valid name most like ``name``, "" if no name is similar."""
    by_lower = {candidate.lower(): candidate for candidate in valid}
    wanted = name[:LONGEST].lower().replace("-", "_")
    found = get_close_matches(wanted, by_lower, n=1, cutoff=0.6)
    return by_lower[found[0]] if found else ""


def wanted_name(name: str, valid: Iterable[str]) -> str:
    """Words for the valid name wanted in place of ``name``: the nearest, else the first LISTED_MAX."""
    names = list(valid)
    found = nearest(name, names)
    return f"'{found}' (the nearest valid key)" if found else "one of " + ", ".join(names[:LISTED_MAX])


Location = Sequence[int | str]
LOOKED_UP_MAX = 2 * LISTED_PROBLEMS_MAX
"""The search for the nearest name takes 0.1 ms; problems beyond the listed ones are only counted."""
REPEATED = {"neighbour": "tables with the keys of [vm]"}
"""Top-level tables that repeat the keys of another table: ``places_of`` does not search them."""

MODELLED_EXAMPLE = "auto_converge = true"
_TYPES = {
    "model_type": "a table",
    "model_attributes_type": "a table",
    "dict_type": "a table",
    "tuple_type": "an array of tables",
    "list_type": "an array",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "a text",
    "string_pattern_mismatch": "a name of letters, digits, '.', '_' and '-' that opens with a letter or digit",
}
_BOUNDS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than", "min_length": "length at least",
           "max_length": "length at most"}  # fmt: skip


def dotted(location: Location) -> str:
    """``vm.workload[0].size`` of ("vm", "workload", 0, "size")."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.lstrip(".")


def problems_of(error: ValidationError, model: type[BaseModel], file: str) -> list[Problem]:
    """A Problem for each error in ``error``, which the validation of ``model`` raised."""
    found = error.errors(include_url=False)
    looked_up = [_problem(one, model, file) for one in found[:LOOKED_UP_MAX]]
    rest = (Problem(file, dotted(one["loc"])[:200], "", "as above") for one in found[LOOKED_UP_MAX:])
    return [*looked_up, *rest]


def _problem(error: ErrorDetails, model: type[BaseModel], file: str) -> Problem:
    location = error["loc"]
    context: Mapping[str, Any] = error.get("ctx", {})
    field = field_at(model, location)
    example = _example(location, field, str(context.get("example", "")))
    if error["type"] == "extra_forbidden":
        return _unknown(location, error["input"], model, file)
    if error["type"] == "missing":
        return Problem(file, dotted(location), "nothing", "a value: this key has no default", example)
    if error["type"] == "refused":
        return Problem(file, dotted(location), context["got"], context["wanted"], example)
    write = writer_of(field)
    wanted = _wanted(error, context, write)
    return Problem(file, dotted(location) or "the file", write(error["input"]), wanted, example)


def _unknown(location: Location, value: object, model: type[BaseModel], file: str) -> Problem:
    name, owner = str(location[-1]), model_at(model, location[:-1])
    keys = list(owner.model_fields) if owner else []
    if (location[0] == "migration" or not places_of(name, model)) and (told := refusal(name, value)):
        return Problem(file, dotted(location)[:200], *told, MODELLED_EXAMPLE)
    wanted = wanted_name(name, keys)
    elsewhere = [] if "nearest" in wanted else places_of(name, model)
    if elsewhere:
        wanted = "the key in its own table: " + " or ".join(elsewhere)
    return Problem(file, dotted(location)[:200], "an unknown key", wanted)


def _wanted(error: ErrorDetails, context: Mapping[str, Any], write: Callable[[Any], str]) -> str:
    if "expected" in context:
        return f"one of {context['expected']}"
    for bound, words in _BOUNDS.items():
        if bound in context:
            return f"{words} {write(context[bound])}"
    return _TYPES.get(error["type"], error["msg"])


def writer_of(field: FieldInfo | None) -> Callable[[Any], str]:
    """A function that shows a value of ``field``: a quantity with its unit, any other value as Python writes it."""
    parts = metadata_of(field) if field is not None else []
    serializer: Any = next((part.func for part in parts if isinstance(part, PlainSerializer)), None)
    return lambda value: str(serializer(value)) if serializer and type(value) is int else shown(value)


def metadata_of(field: FieldInfo) -> list[Any]:
    """Everything that annotates ``field``, inside an optional too."""
    return [*field.metadata, *(part for arg in get_args(field.annotation) for part in get_args(arg)[1:])]


def _example(location: Location, field: FieldInfo | None, value: str) -> str:
    name = next((part for part in reversed(location) if isinstance(part, str)), "")
    if not value and field is not None and field.examples:
        first = field.examples[0]
        value = f'"{first}"' if isinstance(first, str) else str(first)
    return value if not name or not value or " = " in value else f"{name} = {value}"


def model_at(model: type[BaseModel], location: Location) -> type[BaseModel] | None:
    """The model of the table at ``location``, None if there is none."""
    for part in location:
        if isinstance(part, int):
            continue
        inner = model_in(model.model_fields[part].annotation) if part in model.model_fields else None
        if inner is None:
            return None
        model = inner
    return model


def field_at(model: type[BaseModel], location: Location) -> FieldInfo | None:
    """The field at ``location``, None if there is none."""
    names = [part for part in location if isinstance(part, str)]
    owner = model_at(model, names[:-1]) if names else None
    return owner.model_fields.get(names[-1]) if owner else None


def model_in(annotation: object) -> type[BaseModel] | None:
    """The model inside an optional, tuple or plain annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in {Union, UnionType, Annotated, tuple}:
        return next((found for arg in get_args(annotation) if (found := model_in(arg))), None)
    return None


def places_of(name: str, model: type[BaseModel], prefix: str = "") -> list[str]:
    """Dotted keys under ``model`` whose last part is ``name``."""
    found = [f"{prefix}{name}"] if name in model.model_fields and prefix else []
    for key, field in model.model_fields.items():
        inner = model_in(field.annotation)
        if inner is not None and key not in REPEATED:
            found += places_of(name, inner, f"{prefix}{key}.")
    return found


def without_duplicates(problems: Iterable[Problem]) -> list[Problem]:
    """``problems`` in order, each key and wish once."""
    return list({(p.key, p.wanted): p for p in reversed(list(problems))}.values())[::-1]
