#!/usr/bin/python3
"""`make bench`: measures weir beside its peers and writes the table and the plots of docs/bench/.

    run.py                    everything; results go to docs/bench/
    run.py --quick            a smoke run of about two minutes; results go to build/bench/quick/
    run.py --only ROW         one group of rows (may be repeated); the others keep their figures
    run.py --traces DIR       also the miss ratios (or TRACES=DIR in the environment)
    run.py --readme           no measuring: writes the last results into README.md

See docs/bench/README.md for the method. Exit status: 0 all bars held, 1 some did not, 2 usage.
"""

import argparse
import json
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import plots  # noqa: E402
import report  # noqa: E402
import rows  # noqa: E402
from measure import progress  # noqa: E402
from servers import BUILD, ROOT, BenchError  # noqa: E402

DOCS = os.path.join(ROOT, "docs", "bench")


def parse_arguments():
    parser = argparse.ArgumentParser(description="measure weir beside its peers")
    parser.add_argument("--quick", action="store_true", help="a smoke run, about two minutes")
    parser.add_argument("--only", action="append", choices=rows.ROWS, metavar="ROW",
                        help="one of " + ", ".join(rows.ROWS) + "; may be repeated")
    parser.add_argument("--traces", default=os.environ.get("TRACES"), metavar="DIR",
                        help="directory of *.u32 or *.u32.zst traces, for the miss ratios")
    parser.add_argument("--readme", action="store_true",
                        help="write the last results into README.md and stop")
    parser.add_argument("--out", metavar="DIR", help="where results go")
    return parser.parse_args()


def measure_row(name, settings):
    """The row as a dictionary; a server that fails fails its row, not the run."""
    started = time.monotonic()
    progress(f"{name} …")
    try:
        row = rows.ROWS[name](settings)
    except (BenchError, OSError, KeyError) as error:
        row = rows.Row()
        row.line(name, f"could not be measured: {error}", "", False)
    progress(f"{name} took {time.monotonic() - started:.0f} s")
    return {"lines": row.lines, "figures": row.figures, "when": time.strftime("%Y-%m-%d %H:%M"),
            "version": report.weir_version(), "quick": settings.quick}


def write_results(results, out):
    os.makedirs(out, exist_ok=True)
    with open(os.path.join(out, "results.json"), "w") as file:
        json.dump(results, file, indent=1, sort_keys=True, ensure_ascii=False)
        file.write("\n")
    with open(os.path.join(out, "table.md"), "w") as file:
        file.write(report.table(results))
    plots.write_all(results["rows"], out)


def read_results(out):
    try:
        with open(os.path.join(out, "results.json")) as file:
            return json.load(file)
    except FileNotFoundError:
        return {"rows": {}}


def main():
    arguments = parse_arguments()
    out = arguments.out or (os.path.join(BUILD, "bench", "quick") if arguments.quick else DOCS)
    results = read_results(out)
    if arguments.readme:
        report.write_readme(os.path.join(ROOT, "README.md"), results)
        return 0
    settings = rows.Settings(arguments.quick, arguments.traces)
    results["machine"] = report.machine()
    for name in arguments.only or rows.ROWS:
        results["rows"][name] = measure_row(name, settings)
        write_results(results, out)
    print(report.table(results))
    return 0 if report.all_pass(results) else 1


if __name__ == "__main__":
    sys.exit(main())
