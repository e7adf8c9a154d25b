"""A table of the scenario file as a frozen pydantic model, whose errors are hostsim's own."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from hostsim.core.errors import InputError
from hostsim.scenario.problems import problems_of

SOURCE = "scenario"
"""Takes the place of the file name in problems of a scenario that is made in Python."""


class Section(BaseModel):
    """Frozen, unknown keys refused. InputError with every problem, never pydantic's ValidationError."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, ser_json_inf_nan="null")

    def __init__(self, /, **data: Any) -> None:
        """``data``: the keys of the table, with units as in a file."""
        try:
            super().__init__(**data)
        except ValidationError as error:
            raise InputError(problems_of(error, type(self), SOURCE)) from None

    # Without this pydantic would call __init__ for inner tables too, and report the first bad one alone.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    @classmethod
    def model_validate(cls, obj: Any, **options: Any) -> Self:
        """The table from a mapping. InputError."""
        try:
            return super().model_validate(obj, **options)
        except ValidationError as error:
            raise InputError(problems_of(error, cls, SOURCE)) from None
