"""Results of predict, whatif, solve, fit, measure-dirty and the sweep of auto-converge, made up, as their JSON has them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from hostsim.report.html.page import Content
from hostsim.report.predict_report import prediction_lines
from hostsim.report.solve_report import solution_lines
from hostsim.results.tables import Table
from tests.helpers.predicted import predicted, solved


def spread(mean: float, reach: float = 0.1) -> dict[str, Any]:
    return {"n": 3, "mean": mean, "low": mean - reach, "high": mean + reach}


def prediction(name: str, completed: int = 10, stuck: int = 0) -> dict[str, Any]:
    found = replace(predicted(completed, stuck), name=name)
    return {"verdict": [*prediction_lines(found), name], **found.to_dict()}


def solution(name: str) -> dict[str, Any]:
    found = replace(solved(), name=name)
    return {"verdict": [*solution_lines(found), name], **found.to_dict()}


def guest(name: str) -> dict[str, Any]:
    """The answer of fit on a guest: three lengths of rounds, one of which is not explained."""
    rows = [
        {"end_s": 2.0 * (4 - i), "rounds": 1 + i, "length_s": 2.0**i, "found_pages": 1000.0 * (1 + i),
         "fitted_pages": 1010.0 * (1 + i), "off_share": 0.01 * (1 - i) if i else None, "error_share": 0.02,
         "throttle_percent": 20.0 * i}
        for i in range(3)
    ]  # fmt: skip
    between = {"value": 1000.0, "low": 900.0, "high": 1200.0}
    alone = {"value": 7.0, "low": None, "high": None}
    figures = {"working_set_pages": between, "dirtied_in_1s_pages": between, "floor_pages": alone}
    return {"name": "guest", "sources": [name], "threshold_pages": 12.0, "rounds": rows, "figures": figures,
            "lines": [f"FIT: {name}: it fits.", f"Guest: {name}."]}  # fmt: skip


def curve(drawn: bool = True) -> Table:
    t_s = np.geomspace(0.05, 8.0, 20)
    fitted = 4000 * (1 - np.exp(-t_s))
    low, high = (0.9 * fitted, 1.2 * fitted) if drawn else (np.full(20, np.nan), np.full(20, np.nan))
    return Table("curve", {"t_s": t_s, "fitted_pages": fitted, "low_pages": low, "high_pages": high})


def measured(name: str) -> dict[str, Any]:
    """Three measurements of which one costs nothing, and one gives no forecast that ends."""
    settings = (("page-sampling", "512", "1s"), ("page-sampling", "512", "5s"), ("ring", "-", "1s"))
    rows = [
        {"settings": dict(zip(("method", "samples", "window"), one, strict=True)), "n": 8, "reported_mib_per_s": 60.0 + i,
         "written_mib_per_s": 61.0, "cv_percent": 5.0 * (2 - i), "forecast_total_s": None if i == 2 else 20.0,
         "endless_share": float(i == 2),
         "figures": {"bias_percent": spread(2.0 * i - 1.5), "guest_lost_percent": spread(float(i == 2), 0.0)}
         | ({} if i == 2 else {"error_percent": spread(40.0)})}
        for i, one in enumerate(settings)
    ]  # fmt: skip
    options = {"file": name, "method": "page-sampling,ring", "samples": "512", "window": "1s,5s", "reps": 8, "seed": None}
    return {"verdict": [f"VERDICT: {name}"], "rows": rows, "seeds": [1, 2, 3], "interval": "95% interval",
            "options": options, "truth": {"total_s": spread(19.2), "completed": 3, "seeds": 3}}  # fmt: skip


def swept(name: str) -> dict[str, Any]:
    """Settings of auto-converge: one does not complete, two are equal, one is faster and one costs less."""
    values: dict[tuple[str, str, str], tuple[float, float] | None] = {
        ("80", "10", "5"): None, ("80", "10", "10"): (30e3, 5e3), ("80", "20", "5"): (25e3, 6e3),
        ("80", "20", "10"): (20e3, 7e3), ("99", "10", "5"): (50e3, 9e3), ("99", "10", "10"): (30e3, 5e3),
        ("99", "20", "5"): (31e3, 5.5e3), ("99", "20", "10"): (40e3, 8e3),
    }  # fmt: skip
    rows = [_setting(("off", "off", "off"), None), *(_setting(at, got) for at, got in values.items())]
    ran = {"status": "completed", "total_time_ms": 5}
    runs = [{"settings": row["settings"], "seed": 1, "key": "k", "figures": ran} for row in rows]
    lists = {"max": ["80", "99"], "initial": ["10", "20"], "increment": ["5", "10"]}
    axes = [{"key": key, "values": ["off", *each]} for key, each in lists.items()]
    return {"name": "auto-converge", "axes": axes, "combinations": rows, "runs": runs, "seeds": [1, 2], "best": [],
            "interval": "95% interval", "verdict": [f"VERDICT: {name}"],
            "options": {"file": name, "set": ["seed=2"], **lists}}  # fmt: skip


def _setting(at: tuple[str, str, str], got: tuple[float, float] | None) -> dict[str, Any]:
    total, lost = (None, None) if got is None else (spread(got[0], 10.0), spread(got[1], 300.0))
    settings, status = dict(zip(("max", "initial", "increment"), at, strict=True)), "completed" if got else "cancelled"
    figures = {"total_time_ms": total, "guest_lost_ms": lost}
    return {"settings": settings, "statuses": [status] * 2, "converges": got is not None, "figures": figures}


def answer_contents(name: str, origin: dict[str, Any]) -> dict[str, Content]:
    """A content a kind; ``name`` stands in each."""
    texts, fitted = {"guest.toml": f"# {name}\n"}, guest(name)
    asked = {"asked": "--bandwidth 10Gbit", "command": f"hostsim whatif {name}", "fit": fitted}
    tables = {"curve": curve()}
    stuck = prediction(name, completed=3, stuck=7)
    return {
        "predict": Content("predict", prediction(name), origin=origin),
        "predict stuck": Content("predict", stuck | {"margins": []}, origin=origin),
        "whatif": Content("whatif", prediction(name) | asked, {"curve": curve(drawn=False)}, texts, origin=origin),
        "solve": Content("solve", solution(name), origin=origin),
        "fit": Content("fit", fitted, tables, texts, origin=origin),
        "measure-dirty": Content("measure-dirty", measured(name), origin=origin),
        "auto-converge": Content("auto-converge", swept(name), origin=origin),
    }
