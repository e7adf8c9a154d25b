"""Options that several commands share, and commands that refuse options which contradict each other."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperCommand

from hostsim.core.errors import InputError, Problem

LOOK: dict[str, Any] = {
    "add_completion": False, "pretty_exceptions_enable": False, "rich_markup_mode": None,
    "context_settings": {"help_option_names": ["-h", "--help"]},
}  # fmt: skip
"""Settings of every application: plain help, no traceback in a frame."""

_LISTED = json.loads((files("hostsim") / "data" / "modes.json").read_text(encoding="utf-8"))
"""``make docs`` writes the file: loading the records of mechanisms takes longer than a help may."""
EVERY_MODE = f"{', '.join(_LISTED['modes'])}; {_LISTED['at'][0]}@2 switches after two rounds"
"""Modes of ``compare --modes``, as helps list them."""

AsRootFlag = Annotated[
    bool,
    typer.Option(
        "--as-root", help="Also measure ageing, through a file that only root can write; host settings are restored."
    ),
]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON on standard output, and nothing else.")]
QuietFlag = Annotated[bool, typer.Option("--quiet", help="Show no progress bar.")]
WideFlag = Annotated[bool, typer.Option("--wide", help="Print all columns of each table, even wider than the terminal.")]
Format = Annotated[Literal["text", "markdown"], typer.Option("--format", help="Form of the verdict.")]
HtmlOption = Annotated[
    Path | None, typer.Option("--html", metavar="FILE", help="A report as one HTML file that needs no network.")
]
PlotOption = Annotated[
    Path | None,
    typer.Option("--plot", metavar="FILE", help="The charts as pictures (.png, .svg, .pdf) with their data as CSV."),
]
WidthOption = Annotated[
    Literal["column", "page"], typer.Option("--width", help="Width of a picture on paper: column is 89 mm, page is 183 mm.")
]
ChartOption = Annotated[str | None, typer.Option("--chart", metavar="NAME", help="With --plot: write this chart alone.")]
CiOption = Annotated[
    str, typer.Option("--until-ci", metavar="SHARE", show_default=False,
                      help="Add runs until the half width of the interval of the total time is at most this share: 5%."),
]  # fmt: skip


PLACE = "command line"
PROSE = ("text", "table", "markdown")
CONTRADICTIONS: tuple[tuple[str, str, str], ...] = (
    ("no_files", "out", "write no files, or say where they go"),
    ("no_files", "force", "without files nothing is finished that could be run again"),
    ("as_json", "wide", "JSON has no tables"),
    ("as_json", "style", "JSON, or the other format"),
    ("copy", "wide", "copy files, or list them"),
)
"""Parameters of a command, and why they do not go together."""
GOES_WITH = {("as_json", "style"): "json"}
"""Pairs of options that agree if the second has this value, and may then stand together."""


class StrictCommand(TyperCommand):
    """A command; InputError where options contradict each other or one is given twice."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse ``args`` as the base class does, then check the options together; returns the rest of ``args``. InputError.

        ctx: of typer; nothing is checked if its ``resilient_parsing`` is set, as it is for completion.
        """
        given = list(args)
        rest = super().parse_args(ctx, args)
        if not ctx.resilient_parsing:  # completion
            problems = [*self._twice(ctx, given), *self._contradictions(ctx)]
            if problems:
                raise InputError(problems)
        return rest

    def _twice(self, ctx: Any, given: list[str]) -> Iterator[Problem]:
        _, _, order = self.make_parser(ctx).parse_args(args=given)
        for param, times in Counter(param for param in order if _takes_one(param)).items():
            if times > 1:
                yield Problem(PLACE, _written(param), f"it {times} times", "it once: one value would be ignored")

    def _contradictions(self, ctx: Any) -> Iterator[Problem]:
        params = {param.name: param for param in self.get_params(ctx)}
        for one, other, why in CONTRADICTIONS:
            if one in params and other in params and _is_on(ctx, one) and _is_on(ctx, other):
                if GOES_WITH.get((one, other)) == ctx.params[other]:
                    continue
                got = f"{_written(params[other])} with {_written(params[one])}"
                yield Problem(PLACE, _written(params[other]), got, f"one of the two: {why}")
        if "wide" in params and ctx.params.get("wide") and ctx.params.get("style", "text") not in PROSE:
            yield Problem(PLACE, "--wide", f"--wide with --format {ctx.params['style']}", "one of the two: it has no tables")


class StrictApp(typer.Typer):
    """An application of ``StrictCommand``."""

    def command(self, name: str | None = None, **options: Any) -> Callable[[Any], Any]:
        """As the base does with ``name`` and ``options``; without ``cls`` the class of a command is StrictCommand."""
        return super().command(name, **({"cls": StrictCommand} | options))


def refuse_same_keys(texts: Sequence[str], seed: int | None, varied: Mapping[str, Any] | Sequence[str] = ()) -> None:
    """InputError where ``--set`` names a key twice, or one that ``--seed`` or ``--vary`` sets, too.

    texts: KEY=VALUE of --set; varied: keys of --vary.
    """
    keys = [text.partition("=")[0].strip() for text in texts]
    problems = [
        Problem("--set", key, f"{times} values", "one value: only the last would count", f"--set {key}=VALUE")
        for key, times in Counter(keys).items()
        if times > 1
    ]
    if seed is not None and "seed" in {*keys, *varied}:
        other = "--vary" if "seed" in varied else "--set"
        problems.append(Problem("--seed", "seed", f"a value of {other}, too", "one of the two", "--seed 7"))
    if problems:
        raise InputError(problems)


def _takes_one(param: Any) -> bool:
    return param.param_type_name == "option" and not param.multiple and not getattr(param, "count", False)


def _is_on(ctx: Any, name: str) -> bool:
    """Whether the user gave the option, other than a flag switched off."""
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE" and ctx.params[name] is not False


def _written(param: Any) -> str:
    return str(next((text for text in param.opts if text.startswith("--")), param.opts[0]))
