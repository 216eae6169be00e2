"""What was measured of flow and magnification, as tables and in words."""

from __future__ import annotations

from typing import Any

from hcp_mer.benchmark.flow import AT_NOISE, AT_PEAK_PX
from hcp_mer.benchmark.tables import Cells, milliseconds


def flow_tables(result: dict[str, Any]) -> list[Cells]:
    """Headers and rows of `run_flow`'s result: by peak at each noise, by disturbance, times."""
    errors = result["errors"]
    conditions = dict.fromkeys(error["conditions"] for error in errors)
    noises = [name for name in conditions if name.startswith("noise")]
    of_noises = [[e for e in errors if e["conditions"] == noise] for noise in noises]
    trials = [error for error in errors if error["conditions"] not in noises]
    return [
        *(
            _crossed(f"px, {noise}", "peak_px", of_noise, "{:.4f}", "mean_px")
            for noise, of_noise in zip(noises, of_noises, strict=True)
        ),
        _crossed(f"px, {AT_PEAK_PX} px", "conditions", trials, "{:.3f}", "mean_px"),
        _beside_dis("one pair, 224 px", result["pair_s"]),
    ]


def flow_summary(result: dict[str, Any]) -> str:
    """What the tables are of, and the two ratios that decide."""
    ratios = (
        f"{name} {r['ratio']:.2f} [{r['low']:.2f}, {r['high']:.2f}]"
        for name, r in result.items()
        if name.startswith("ratio")
    )
    return (
        f"mean end-point error where |u| exceeds a quarter of its peak, {_scenes(result)}.\n"
        f"second last table: noise {AT_NOISE:g} and JPEG of quality q, drifting light, a moving "
        f"head, reg. where it was registered first; AUs move as action units do.\n"
        f"at {AT_PEAK_PX} px and noise {AT_NOISE:g}, with 95 % intervals over scenes: "
        f"{', '.join(ratios)}"
    )


def magnify_summary(result: dict[str, Any]) -> str:
    """What the tables are of."""
    return (
        f"α = {result['settings']['alpha']:g}; PSNR and mean displacement from the true magnified "
        f"frame where |u| exceeds a quarter of its peak, {_scenes(result)}"
    )


def magnify_tables(result: dict[str, Any]) -> list[Cells]:
    """Headers and rows of `run_magnify`'s result: PSNR and end-point error by peak and noise."""
    tables = []
    for noise in dict.fromkeys(row["noise"] for row in result["quality"]):
        rows = [row for row in result["quality"] if row["noise"] == noise]
        for title, form, value in (
            (f"PSNR, dB, noise {noise:g}", "{:.1f}", "psnr_db"),
            (f"px, noise {noise:g}", "{:.3f}", "mean_px"),
        ):
            tables.append(_crossed(title, "peak_px", rows, form, value))
    return [*tables, _beside_dis("one apex, 224 px", result["apex_s"])]


def _scenes(result: dict[str, Any]) -> str:
    return f"{result['settings']['scenes']} scenes, photographs and drawn faces, exactly warped"


def _crossed(title: str, across: str, rows: list[dict[str, Any]], form: str, value: str) -> Cells:
    """Methods down, another key of the rows across."""
    columns = list(dict.fromkeys(row[across] for row in rows))
    found = {(row["method"], row[across]): form.format(row[value]) for row in rows}
    methods = dict.fromkeys(row["method"] for row in rows)
    body = [[method, *(found[method, column] for column in columns)] for method in methods]
    return [title, *map(str, columns)], body


def _beside_dis(title: str, times: dict[str, Any]) -> Cells:
    """Times with OpenCV's DIS, medium, as the unit: it runs everywhere."""
    of_unit = times["dis"]["cpu_s"]["median"]
    rows = [
        [name, *milliseconds(time), f"{time['cpu_s']['median'] / of_unit:.1f}"]
        for name, time in times.items()
    ]
    return [title, "cpu ms", "min–max", "wall ms", "of DIS"], rows
