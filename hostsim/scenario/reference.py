"""Every scenario key as JSON schema, or as a Markdown table for the reference."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from hostsim.memory.policies.registry import policies_markdown
from hostsim.scenario.presets import presets_markdown
from hostsim.scenario.problems import REPEATED, metadata_of, model_in, writer_of
from hostsim.scenario.profiles import PROFILES, Profile
from hostsim.scenario.schema import Scenario
from hostsim.spte_index.designs import DESIGNS

INTRODUCTION = (
    "Sizes carry B, kB, MB, GB, TB or KiB, MiB, GiB, TiB; bandwidths the same or bits per second (`10Gbit/s`); "
    "durations ns, us, ms, s, min, h or d; rates `/s`, `k/s`, `M/s`, `G/s`; shares are `70%` or `0.7`. "
    "k, M, G, T are powers of 1000, Ki, Mi, Gi, Ti of 1024. A number without its unit is an error, but for 0. Where 0 would "
    "not mean none the key has a word for it (`unlimited`, `never`, `measured`, `off`), and 0 is refused."
)
PRESET_TEXT = "Values of `preset` in `[[vm.workload]]`; each key that they give may be written beside, and counts then:"
INDEX_TEXT = "Designs of `index` in `[vm.mmu]`, beside `measured`:"
POLICY_TEXT = "Values of `policy`, and where each is allowed; the commands in the table take the names as `--policy`:"
PROFILE_TEXT = "Defaults of `[migration]` by `profile`, for keys that are not written:"


@dataclass(frozen=True)
class Key:
    """One row of the reference."""

    name: str
    kind: str
    default: str
    meaning: str


def json_schema() -> dict[str, Any]:
    """JSON schema of a scenario file."""
    return Scenario.model_json_schema(mode="validation")


def markdown() -> str:
    """The reference: a table of keys for each table of the file, the profiles, and the designs of an index."""
    parts = [INTRODUCTION]
    for title, model in tables():
        parts += [f"## `{title}`", _table(("key", "type", "default", "meaning"), [_cells(key) for key in keys(model)])]
    rows = [row for profile in PROFILES.values() for row in _profile_rows(profile)]
    parts += ["## Profiles", PROFILE_TEXT, _table(("profile", "key", "default", "source"), rows)]
    designs: list[tuple[str, ...]] = [(f"`{name}`", design.says) for name, design in DESIGNS.items()]
    parts += ["## Presets", PRESET_TEXT, presets_markdown()]
    parts += ["## Indexes", INDEX_TEXT, _table(("index", "design"), designs)]
    parts += ["## Ageing policies", POLICY_TEXT, policies_markdown()]
    return "\n\n".join(parts) + "\n"


Table = tuple[str, type[BaseModel]]


def tables(model: type[BaseModel] = Scenario, name: str = "", is_array: bool = False) -> Iterator[Table]:
    """(heading, model) of every table of the file below ``model``, in the order of its keys.

    name: dotted name of the table of ``model`` itself; "": the top level. is_array: the heading has two brackets, [[name]].
    """
    brackets = ("[[", "]]") if is_array else ("[", "]")
    yield (f"{brackets[0]}{name}{brackets[1]}" if name else "top level"), model
    for key, field in model.model_fields.items():
        inner = model_in(field.annotation)
        if inner is not None and key not in REPEATED:
            yield from tables(inner, f"{name}.{key}".lstrip("."), get_origin(field.annotation) is tuple)


def keys(model: type[BaseModel]) -> Iterator[Key]:
    """The keys of one table that are not tables themselves."""
    dumped = _defaults(model)
    for name, field in model.model_fields.items():
        if name in REPEATED:
            yield Key(f"[[{name}]]", REPEATED[name], "", field.description or "")
        elif model_in(field.annotation) is None:
            yield Key(name, _kind(field), dumped.get(name, "required"), field.description or "")


def _defaults(model: type[BaseModel]) -> dict[str, str]:
    """Defaults as a file would write them."""
    given = {n: f.get_default(call_default_factory=True) for n, f in model.model_fields.items() if not f.is_required()}
    blank = model.model_construct(**given)
    table = blank.model_dump(mode="json", include=set(given), warnings=False)
    return {name: "" if value is None else _written(value) for name, value in table.items()}


def _written(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f'"{value}"' if isinstance(value, str) else str(value)


def _kind(field: FieldInfo) -> str:
    choices = _choices(field.annotation)
    if choices:
        return " \\| ".join(f'"{choice}"' for choice in choices)
    bounds = [text for text in (_bound(part, writer_of(field)) for part in metadata_of(field)) if text]
    return ", ".join([_schema_name(field), *bounds])


def _choices(annotation: object) -> tuple[object, ...]:
    """The choices of Literal[...], and of Literal[...] | None."""
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    given = [kind for kind in get_args(annotation) if kind is not NoneType]
    return get_args(given[0]) if len(given) == 1 and get_origin(given[0]) is Literal else ()


def _bound(part: object, write: Callable[[Any], str]) -> str:
    signs = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}
    found = [(sign, getattr(part, name)) for name, sign in signs.items() if hasattr(part, name)]
    return ", ".join(f"{sign} {write(value)}" for sign, value in found)


def _schema_name(field: FieldInfo) -> str:
    for part in metadata_of(field):
        described = getattr(part, "json_schema", None)
        if isinstance(described, dict) and "description" in described:
            return str(described["description"])
    names = {bool: "true or false", int: "whole number", float: "number", str: "text"}
    return next((text for kind, text in names.items() if _mentions(field.annotation, kind)), "text")


def _mentions(annotation: object, kind: type) -> bool:
    return annotation is kind or any(_mentions(arg, kind) for arg in get_args(annotation))


def _cells(key: Key) -> tuple[str, ...]:
    default = "" if not key.default else key.default if key.default == "required" else f"`{key.default}`"
    return f"`{key.name}`", key.kind, default, key.meaning


def _profile_rows(profile: Profile) -> Iterator[tuple[str, ...]]:
    for name, default in profile.defaults.items():
        share = f"{default.memory_share:.0%} of memory"
        value = share if default.memory_share else f"`{_written(default.value)}`"
        yield f"`{profile.name}`", f"`{name}`", value, default.source
    if profile.timeout_per_gib_s:
        yield f"`{profile.name}`", "`timeout`", f"{profile.timeout_per_gib_s} s per GiB", profile.timeout_source


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
