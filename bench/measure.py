"""Running the load generator, in interleaved rounds, and the arithmetic on what it reports."""

import json
import random
import statistics
import subprocess
import sys

from servers import BenchError, program

VALUE, KEYS, CLIENTS = 64, 100_000, 50


def load(server, pids=(), **options):
    """One run of the load generator against `server`; returns its figures as a dictionary."""
    words = [program("bench/load"), "--json"]
    for name, value in options.items():
        words += [f"--{name}"] if value is True else [f"--{name}", str(value)]
    for pid in pids:
        words += ["--pid", str(pid)]
    done = subprocess.run(words + [server.address], capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise BenchError(f"load on {server.name}: {done.stderr.strip()[-300:]}")
    figures = json.loads(done.stdout)
    if figures["errors"] or (figures["nils"] and not options.get("set")):
        raise BenchError(f"load on {server.name}: {figures['errors']:.0f} wrong replies, "
                         f"{figures['nils']:.0f} nils: {done.stderr.strip()[-200:]}")
    return figures


def cpu(server, pid=None, **options):
    """CPU µs per operation of `server` (or of another process) under load on `server`."""
    return load(server, [pid or server.pid], **options)["cpu_us_per_op"]


def populate(store, keys=KEYS):
    load(store, keys=keys, ops=keys, sequential=True, set=100, pipeline=32, value=VALUE)


def touch_all(server, keys=KEYS, passes=2):
    """Reads every key in order, so that a cache has seen all of them."""
    load(server, keys=keys, ops=keys * passes, sequential=True, pipeline=32)


def progress(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


def interleave(name, contenders, rounds):
    """Measures every contender once in each round, in random order.

    `contenders` maps names to functions that return a figure. Returns one dictionary per round.
    """
    results = []
    for number in range(rounds):
        order = list(contenders)
        random.shuffle(order)
        result = {contender: contenders[contender]() for contender in order}
        results.append(result)
        shown = " · ".join(f"{c} {result[c]:.3g}" for c in contenders)
        progress(f"{name} {number + 1}/{rounds}: {shown}")
    return results


def median(rounds, name):
    return statistics.median(r[name] for r in rounds)


def ratio(rounds, above, below):
    """The median of the ratios taken within each round: what drifts between rounds drops out."""
    return statistics.median(r[above] / r[below] for r in rounds)


def spread(rounds, name):
    """How far a contender's rounds lie apart, as a share of their median."""
    values = [r[name] for r in rounds]
    return (max(values) - min(values)) / statistics.median(values)
