"""The results as markdown: the table of bars, the table of peers, and the README's section."""

import os
import platform
import re
import subprocess

import servers

ORDER = ("p32", "p1", "lookups", "fill", "uniform", "density", "miss_ratio", "lone", "clients",
         "idle")
OPEN, CLOSE = "<!-- bench -->", "<!-- /bench -->"


def output_of(*words):
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=10)
        return (done.stdout + done.stderr).strip()
    except OSError:
        return ""


def first_match(pattern, text, otherwise="?"):
    match = re.search(pattern, text)
    return match.group(1).strip() if match else otherwise


def weir_version():
    commit = output_of("git", "-C", servers.ROOT, "rev-parse", "--short", "HEAD")
    return commit if re.fullmatch(r"[0-9a-f]+", commit) else "?"


def machine():
    with open("/proc/cpuinfo") as cpuinfo:
        model = first_match(r"model name\s*:\s*(.*)", cpuinfo.read(), platform.machine())
    redis = first_match(r"v=(\S+)", output_of("redis-server", "--version"))
    nutcracker = first_match(r"nutcracker-(\S+)", output_of(servers.peer("nutcracker"), "-V"))
    return (f"{os.cpu_count()} × {model}, Linux {platform.release().split('-')[0]}, "
            f"redis-server {redis}, nutcracker {nutcracker} (-m {servers.NUTCRACKER_MBUF})")


def all_pass(results):
    return all(line["pass"] is not False for row in results["rows"].values()
               for line in row["lines"])


def lines_in_order(results):
    for name in ORDER:
        yield from results["rows"].get(name, {"lines": []})["lines"]


def bars(results):
    verdict = {True: "pass", False: "**fail**", None: ""}
    text = "| what | measured | bar | |\n|---|---|---|---|\n"
    for line in lines_in_order(results):
        text += (f"| {line['what']} | {line['measured']} | {line['bar']} "
                 f"| {verdict[line['pass']]} |\n")
    return text


def peers(results):
    """CPU µs per GET of each contender, a column per workload that was measured."""
    columns = [(f"pipeline {pipeline}, {label}", row["figures"][label])
               for pipeline, name in ((1, "p1"), (32, "p32"))
               for row in [results["rows"].get(name)] if row
               for label in ("100,000 keys", "one hot key") if label in row["figures"]]
    if not columns:
        return ""
    text = "| CPU µs per GET | " + " | ".join(title for title, _ in columns) + " |\n"
    text += "|---" * (len(columns) + 1) + "|\n"
    for name in ("floor", "redis-server", "nutcracker", "weir hit", "weir pass-through"):
        label = f"**{name}**" if name.startswith("weir") else name
        text += f"| {label} | " + " | ".join(f"{f[name]:.3g}" for _, f in columns) + " |\n"
    return text


def caption(results):
    measured = sorted({(row["when"][:10], row["version"]) for row in results["rows"].values()})
    dates = ", ".join(f"{day} at {version}" for day, version in measured)
    quick = any(row["quick"] for row in results["rows"].values())
    return (f"{results.get('machine', '')}. Measured {dates}.\n"
            + ("\nA quick run: too short to judge by.\n" if quick else ""))


def table(results):
    return ("# What was measured\n\nWritten by `make bench`; README.md beside it says how.\n\n"
            + caption(results) + "\n" + peers(results) + "\n" + bars(results))


def write_readme(path, results):
    with open(path) as file:
        text = file.read()
    if text.count(OPEN) != 1 or text.count(CLOSE) != 1:
        raise SystemExit(f"README.md needs one {OPEN} and one {CLOSE}")
    body = ("\n" + peers(results) + "\n![CPU per GET](docs/bench/cpu.svg)\n\n" + bars(results)
            + "\n" + caption(results) + "How: [docs/bench](docs/bench/README.md).\n")
    before, rest = text.split(OPEN)
    with open(path, "w") as file:
        file.write(before + OPEN + body + CLOSE + rest.split(CLOSE)[1])
