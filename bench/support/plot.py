#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""plot.py RESULT.json PLOT.svg: draws a benchmark's medians with gnuplot, one panel for each trial,
bars from the lowest to the highest sample."""

import json
import subprocess
import sys
from statistics import median

COLORS = {"tandem": "#2b6cb0", "ck": "#c05621", "boost": "#6b46c1", "raw": "#718096"}
OTHER = "#a0aec0"


def google(result):
    """Google Benchmark's JSON as ours: operation/contender/rest, items per second."""
    trials = {}
    for run in result["benchmarks"]:
        if run["run_type"] == "iteration" and "items_per_second" in run:
            operation, contender, *rest = run["run_name"].split("/")
            row = trials.setdefault("/".join([operation, *rest]), {})
            row.setdefault(contender, []).append(run["items_per_second"] / 1e6)
    return [{"title": title.replace("/real_time", ""), "unit": "M items/s",
             "rows": [{"name": name, "peer": name, "median": median(values), "min": min(values),
                       "max": max(values)} for name, values in sorted(rows.items(), reverse=True)]}
            for title, rows in trials.items()]


def panel(trial):
    rows = list(reversed(trial["rows"]))
    title = trial["title"]
    if "cores_apart_ns" in trial:
        title += f", cores {trial['cores_apart_ns']:.0f} ns apart"
    lines = ["$data << END"]
    for place, row in enumerate(rows):
        middle = row["median"]
        color = int(COLORS.get(row["peer"], OTHER)[1:], 16)
        lines.append(f"{place} {middle} {row.get('min', middle)} {row.get('max', middle)} {color}")
    lines.append("END")
    tics = ", ".join(f"{json.dumps(row['name'])} {place}" for place, row in enumerate(rows))
    lines += [
        f"set title {json.dumps(title)}",
        f"set xlabel {json.dumps(trial['unit'])}",
        f"set ytics ({tics})",
        f"set yrange [-0.6:{len(rows) - 0.4}]",
        "plot $data using ($2/2):1:($2/2):(0.35):5 with boxxyerror lc rgb variable, "
        "$data using 2:1:3:4 with xerrorbars lc rgb '#1a202c' pt 0 lw 1, "
        "$data using 2:1:(sprintf(' %.4g', $2)) with labels left offset 0.5,0.5 font ',9'",
    ]
    return lines


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with open(sys.argv[1], encoding="utf-8") as file:
        result = json.load(file)
    trials = google(result) if "benchmarks" in result else result["trials"]
    trials = [trial for trial in trials if trial["rows"]]
    if not trials:
        sys.exit(f"{sys.argv[1]}: nothing was measured")
    columns = 1 if len(trials) < 5 else 2
    lines = -(-len(trials) // columns)
    heights = 90 + 26 * max(len(trial["rows"]) for trial in trials)
    script = [
        f"set terminal svg noenhanced size {760 * columns},{heights * lines} "
        "font 'sans,11' background 'white'",
        f"set output {json.dumps(sys.argv[2])}",
        f"set multiplot layout {lines},{columns}",
        "unset key",
        "set style fill solid 0.85 noborder",
        "set xrange [0:*]",
        "set offsets 0, graph 0.1, 0, 0",
        "set grid xtics lc rgb '#e2e8f0'",
        "set border 3",
        "set tics nomirror",
        "set lmargin 34",
        "set encoding utf8",
    ]
    for trial in trials:
        script += panel(trial)
    script.append("unset multiplot")
    return subprocess.run(["gnuplot"], input="\n".join(script) + "\n", text=True,
                          check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
