"""The rows of the table. Each function measures one group and returns a Row: lines to print (what,
measured, bar, pass) and the figures behind them, which the plots use."""

import os
import re
import statistics
import subprocess
import tempfile
import threading

import servers
from measure import (CLIENTS, KEYS, BenchError, cpu, interleave, load, median, populate,
                     progress, ratio, spread, touch_all)


class Settings:
    """How long and how often; --quick makes both small."""

    def __init__(self, quick, traces):
        self.quick, self.traces = quick, traces
        self.seconds, self.warmup = (0.5, 0.2) if quick else (1.5, 0.4)
        self.rounds, self.rounds_p1 = (2, 3) if quick else (7, 11)
        self.sweep_rounds = 1 if quick else 5
        self.timing = {"seconds": self.seconds, "warmup": self.warmup}


class Row:
    def __init__(self):
        self.lines, self.figures = [], {}

    def line(self, what, measured, bar="", passed=None):
        """`passed` is None for a line that informs and has no bar."""
        self.lines.append({"what": what, "measured": measured, "bar": bar,
                           "pass": None if passed is None else bool(passed)})

    def at_most(self, what, value, limit, shown):
        self.line(what, shown, f"≤ {limit}", value <= limit)


# ---- CPU per operation, side by side ----------------------------------------------------------

CONTENDERS = ("floor", "redis-server", "nutcracker", "weir hit", "weir pass-through")


def side_by_side(settings, pipeline, keys, rounds):
    """Every contender at one pipeline; also the share of weir's hits that reached the store."""
    with servers.redis_server() as store, servers.floor() as floor:
        populate(store)
        with servers.nutcracker(store) as nutcracker, \
                servers.weir(store, "on") as hit, servers.weir(store, "off") as through:
            touch_all(hit)
            options = {"pipeline": pipeline, "keys": keys, "clients": CLIENTS, **settings.timing}
            asked = {"ops": 0, "store": 0}

            def weir_hit():
                before = int(store.info("stats")["total_commands_processed"])
                figures = load(hit, [hit.pid], **options)
                asked["store"] += int(store.info("stats")["total_commands_processed"]) - before
                asked["ops"] += figures["ops"]
                return figures["cpu_us_per_op"]

            contenders = {
                "floor": lambda: cpu(floor, **options),
                "redis-server": lambda: cpu(store, **options),
                "nutcracker": lambda: cpu(nutcracker, **options),
                "weir hit": weir_hit,
                "weir pass-through": lambda: cpu(through, **options),
            }
            name = f"pipeline {pipeline}, {keys:,} key{'s' if keys > 1 else ''}"
            results = interleave(name, contenders, rounds)
            return results, asked["store"] / asked["ops"]


def cpu_figures(results):
    return {name: median(results, name) for name in CONTENDERS}


def ratio_line(row, what, results, above, below, limit):
    value = ratio(results, above, below)
    row.at_most(what, value, limit, f"{value:.2f} × {below} ({median(results, above):.3g} against "
                                    f"{median(results, below):.3g} µs)")


def pipeline_32(settings):
    row = Row()
    for keys, label in ((KEYS, "100,000 keys"), (1, "one hot key")):
        results, leak = side_by_side(settings, 32, keys, settings.rounds)
        ratio_line(row, f"hit, pipeline 32, {label}", results, "weir hit", "floor", 1.6)
        ratio_line(row, f"hit, pipeline 32, {label}", results, "weir hit", "redis-server", 0.6)
        through = f"pass-through, one thread, pipeline 32, {label}"
        ratio_line(row, through, results, "weir pass-through", "redis-server", 0.8)
        ratio_line(row, through, results, "weir pass-through", "nutcracker", 0.3)
        row.figures[label] = dict(cpu_figures(results), leak=leak)
    return row


def pipeline_1(settings):
    row = Row()
    results, leak = side_by_side(settings, 1, KEYS, settings.rounds_p1)
    ratio_line(row, f"hit, pipeline 1, {len(results)} interleaved runs", results, "weir hit",
               "floor", 1.08)
    ratio_line(row, "pass-through, one thread, pipeline 1", results, "weir pass-through",
               "redis-server", 1.05)
    row.line("the floor's own spread over these runs", f"{spread(results, 'floor'):.1%}")
    row.figures["100,000 keys"] = dict(cpu_figures(results), leak=leak)
    return row


# ---- what weir costs the store ----------------------------------------------------------------

def store_cpu_first_touch(cache, pipeline):
    """The store's CPU µs per GET when weir asks for each of the keys once; fresh servers."""
    with servers.redis_server() as store:
        populate(store)
        with servers.weir(store, cache) as weir:
            return cpu(weir, store.pid, ops=KEYS, keys=KEYS, sequential=True, pipeline=pipeline)


def fill_cost(settings):
    row = Row()
    for pipeline in (32, 1):
        contenders = {"fill": lambda: store_cpu_first_touch("on", pipeline),
                      "untracked": lambda: store_cpu_first_touch("off", pipeline)}
        results = interleave(f"fill, pipeline {pipeline}", contenders, settings.rounds)
        extra = statistics.median(r["fill"] - r["untracked"] for r in results)
        shown = (f"{extra:.2f} µs above an untracked GET ({median(results, 'fill'):.2f} against "
                 f"{median(results, 'untracked'):.2f})")
        what = f"what a fill costs the store, 100,000 keys, pipeline {pipeline}"
        if pipeline == 32:
            row.line(what, shown, "≤ 0.9 µs", extra <= 0.9)
        else:
            row.line(what, shown)
        row.figures[f"pipeline {pipeline}"] = {"extra_us": extra}
    return row


def smallest_weir(store):
    """weir with the cache on and the least memory it accepts, and that size."""
    for memory in ("16mb", "24mb", "32mb", "48mb", "64mb", "96mb", "128mb"):
        try:
            return servers.weir(store, "on", memory=memory), memory
        except BenchError as error:
            refused = error
    raise refused


def uniform(settings):
    row = Row()
    keys = 300_000 if settings.quick else 900_000  # below tracking-table-max-keys, 1,000,000
    options = {"keys": keys, "pipeline": 32}
    with servers.redis_server() as store:
        populate(store, keys)
        on, memory = smallest_weir(store)
        with on, servers.weir(store, "off") as off:
            load(on, warmup=0, seconds=2 if settings.quick else 8, **options)
            options.update(settings.timing)
            results = interleave("uniform", {"on": lambda: cpu(on, store.pid, **options),
                                             "off": lambda: cpu(off, store.pid, **options)},
                                 settings.rounds)
            fields = on.info()
    value = ratio(results, "on", "off")
    row.at_most(f"store's CPU, uniform over {keys:,} keys, weir of {memory}, cache on against off",
                value, 1.15, f"{value:.2f} × ({median(results, 'on'):.2f} against "
                             f"{median(results, 'off'):.2f} µs; {fields.get('cache_items', '?')} "
                             f"items, cache {fields.get('cache_state', '?')})")
    row.figures = {"ratio": value}
    return row


# ---- the cache alone --------------------------------------------------------------------------

def figures_of(*words):
    """Runs a program of bench/ that prints `name value` lines."""
    done = subprocess.run(words, capture_output=True, text=True, timeout=3600)
    if done.returncode:
        raise BenchError(f"{os.path.basename(words[0])}: {done.stderr.strip()[-300:]}")
    found = re.findall(r"^(\w+)[ \t]+([-+.\deE]+)\s*$", done.stdout, re.M)
    return {name: float(value) for name, value in found}


def lookups(settings):
    row = Row()
    runs = [figures_of(servers.program("bench/lookups")) for _ in range(1 if settings.quick else 3)]
    for name, label in (("zipf_scaling", "Zipf 0.99"), ("hot_key_scaling", "a single hot key")):
        value = statistics.median(run[name] for run in runs)
        row.line(f"lookups in the cache alone, two threads over one, {label}", f"{value:.2f} ×",
                 "≥ 1.9", value >= 1.9)
        row.figures[name] = value
    return row


def density(settings):
    row = Row()
    found = figures_of(servers.program("bench/density"))
    items, overhead = found["items"], found["overhead_bytes"]
    row.line("22 B keys, 100 B values touched once, 64 MiB", f"{items:,.0f} items (memcached "
             "349,504, Redis 322,868)", "≥ 440,000", items >= 440_000)
    row.line("overhead of an object", f"{overhead:.1f} B", "≤ 30", overhead <= 30)
    row.figures = {"items": items, "overhead": overhead}
    return row


# OLTP and P3 are the traces of Megiddo and Modha's ARC paper (FAST '03).
EXPECTED_MISS_RATIO = {"OLTP": .3222, "web12": .2775, "orm-busy": .1111, "scarab": .3718,
                       "w106": .0783, "P3": .6609, "corda": .667, "sprite": .1385}
LRU_MISS_RATIO = {"OLTP": .3348, "web12": .3152, "orm-busy": .1199, "scarab": .3940,
                  "w106": .0823, "P3": .8319, "corda": .667, "sprite": .1352}


def unpacked(path, directory):
    if not path.endswith(".zst"):
        return path
    out = os.path.join(directory, os.path.basename(path)[:-len(".zst")])
    subprocess.run([servers.peer("zstd"), "-dqf", path, "-o", out], check=True)
    return out


def unique_ids(path):
    import array
    ids = array.array("I")
    with open(path, "rb") as trace:
        ids.frombytes(trace.read())
    return len(set(ids))


def miss_ratio(settings):
    row = Row()
    if not settings.traces:
        row.line("miss ratio on the traces", "skipped: needs TRACES=DIR")
        return row
    found = {re.sub(r"\.u32(\.zst)?$", "", name): os.path.join(settings.traces, name)
             for name in sorted(os.listdir(settings.traces))
             if re.search(r"\.u32(\.zst)?$", name)}
    with tempfile.TemporaryDirectory() as directory:
        for name in EXPECTED_MISS_RATIO.keys() & found.keys():
            path = unpacked(found[name], directory)
            objects = unique_ids(path) // 10
            value = figures_of(servers.program("bench/miss_ratio"), path,
                               str(objects))["miss_ratio"]
            expected = EXPECTED_MISS_RATIO[name]
            progress(f"miss ratio {name}: {value:.4f}, expected {expected:.4f}")
            row.line(f"miss ratio, {name}, {objects:,} objects",
                     f"{value:.4f} (LRU {LRU_MISS_RATIO[name]:.4f})", f"{expected:.4f} ± .003",
                     abs(value - expected) <= .003)
            row.figures[name] = value
    row.lines.sort(key=lambda line: line["what"])
    return row


# ---- latency, numbers of clients, idle connections --------------------------------------------

def lone(settings):
    """A lone client's misses: every request asks for a key that nobody asked for before."""
    row = Row()
    connections, requests = 8, 300 if settings.quick else 1500
    step = connections * requests
    with servers.redis_server() as store:
        rounds = 2 * settings.rounds + 1
        populate(store, step * rounds)
        with servers.weir(store, "on") as one, servers.weir(store, "on", threads=2) as two:
            first = {}

            def miss(server):
                start = first[server] = first.get(server, -step) + step
                return load(server, lone=connections, ops=requests, first=start, keys=step,
                            sequential=True)["p50_us"]

            results = interleave("a lone client's miss, p50 µs", {
                "redis-server": lambda: miss(store), "one thread": lambda: miss(one),
                "two threads": lambda: miss(two)}, rounds)
    value = median(results, "two threads") / median(results, "one thread")
    row.at_most("a lone client's miss, two threads over one, p50", value, 1.15,
                f"{value:.2f} × ({median(results, 'two threads'):.1f} against "
                f"{median(results, 'one thread'):.1f} µs; redis-server alone "
                f"{median(results, 'redis-server'):.1f})")
    row.figures = {name: median(results, name) for name in results[0]}
    return row


def clients(settings):
    row = Row()
    counts = (2, 50, 500, 2000, 10000)
    ratios = {}
    with servers.redis_server() as store, servers.floor() as floor:
        populate(store)
        with servers.weir(store, "on") as weir:
            touch_all(weir)
            for count in counts:
                options = {"clients": count, **settings.timing}
                options["warmup"] += count / 10000
                results = interleave(f"{count:,} clients", {
                    "floor": lambda: cpu(floor, **options),
                    "weir hit": lambda: cpu(weir, **options)}, settings.sweep_rounds)
                ratios[count] = ratio(results, "weir hit", "floor")
                row.figures[str(count)] = {n: median(results, n) for n in results[0]}
    shown = ", ".join(f"{value:.2f} at {count:,}" for count, value in ratios.items())
    worst = max(ratios.values())
    row.line("hit over the floor, 2 to 10,000 clients", shown, "≤ 1.15 each", worst <= 1.15)
    return row


def memory_in_use(fields):
    """Bytes in use, summed over the memory_ fields of weir's section of INFO."""
    return sum(int(match.group(1)) for name, value in fields.items() if name.startswith("memory_")
               for match in [re.match(r"used=(\d+)", value)] if match)


def hold_idle(server, count):
    """Opens idle connections; returns a function that closes them."""
    holder = subprocess.Popen([servers.program("bench/load"), "--idle", str(count),
                               server.address], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    watchdog = threading.Timer(120, holder.kill)
    watchdog.start()
    ready = holder.stdout.readline()

    def close():
        watchdog.cancel()
        holder.communicate()
    if not ready:
        close()
        raise BenchError(f"{server.name} refused {count} idle connections")
    return close


def idle(settings):
    row = Row()
    count = 10_000
    with servers.redis_server() as store:
        populate(store)
        with servers.weir(store, "on") as weir:
            touch_all(weir, passes=1)
            before, used_before = weir.rss_bytes(), memory_in_use(weir.info())
            close = hold_idle(weir, count)
            after, used_after = weir.rss_bytes(), memory_in_use(weir.info())
            close()
    rss, used = (after - before) / count, (used_after - used_before) / count
    row.line(f"idle connection ({count:,} held)", f"{max(rss, used):,.0f} B (RSS grew by "
             f"{rss:,.0f} each, weir's own account by {used:,.0f})", "≤ 2,048 B",
             max(rss, used) <= 2048)
    row.figures = {"rss": rss, "used": used}
    return row


ROWS = {"p32": pipeline_32, "p1": pipeline_1, "lookups": lookups, "fill": fill_cost,
        "uniform": uniform, "density": density, "miss_ratio": miss_ratio, "lone": lone,
        "clients": clients, "idle": idle}
