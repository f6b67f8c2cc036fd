"""The coherence cases of the near cache on a real redis-server, with real writers elsewhere.

The numbers are those of the design's list; where the exact moment of a byte matters, the case is in
test_coherence_exact.py. Under each test's name stands the wrong cache that it catches.
"""
import itertools
import random
import signal
import threading
import time

import pytest

from lib.resp import Error
from lib.rig import MAX_STALE_S, Rig, Worker, eventually, finish_all
from lib.servers import DIRECT, sanitized, wait_until


def scaled(count):
    """Fewer rounds where a sanitizer makes each slow."""
    return count // 5 if sanitized() else count


def test_case_01_own_write_is_seen_by_every_thread(fleet):
    # Catches: acknowledging a SET before the entry is dropped; a cache per thread.
    rig = Rig(fleet)
    writers, readers = rig.clients(4), rig.clients(8)
    hits = rig.hits()
    for n in range(scaled(300)):
        value = b"%d" % n
        assert random.choice(writers)("SET", "k", value) == "OK"
        for reader in readers:
            assert reader("GET", "k") == value
            assert reader("GET", "k") == value
    assert DIRECT or rig.hits() > hits


def test_case_06_versions_never_decrease(fleet):
    # Catches: a hit served from a copy that another thread had already replaced.
    rig = Rig(fleet)
    direct, floor, stop = rig.direct(), [0], threading.Event()
    direct("SET", "version", 0)

    def write():
        while not stop.is_set():
            direct.pipeline([("INCR", "version")] * 3)
            time.sleep(0.0005)

    def read(client):
        for _ in range(scaled(4000)):
            least = floor[0]
            version = int(client("GET", "version"))
            assert version >= least
            floor[0] = max(floor[0], version)  # others may have raced ahead: lower is still true

    hits = rig.hits()
    writer = Worker(write)
    readers = [Worker(read, client) for client in rig.clients(4)]
    try:
        finish_all(readers)
    finally:
        stop.set()
    writer.finish()
    assert DIRECT or rig.hits() > hits


@pytest.mark.weir_only
def test_case_07_lane_killed(fleet):
    # Catches: an entry that outlives the connection which was to hear of its changes.
    rig = Rig(fleet)
    direct, client = rig.direct(), rig.client()
    for n in range(10):
        direct("SET", "k", f"old{n}")
        eventually(lambda: client("GET", "k"), b"old%d" % n)
        rig.warm(client, "GET", "k")
        direct.pipeline([("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"),
                         ("SET", "k", f"new{n}")])
        eventually(lambda: client("GET", "k"), b"new%d" % n)


@pytest.mark.weir_only
def test_case_09_store_stopped(fleet):
    # Catches: counting silence as consent. While the store is stopped nothing vouches for a hit.
    rig = Rig(fleet)
    direct, client = rig.direct(), rig.client()
    direct("SET", "k", "old")
    rig.warm(client, "GET", "k")
    rig.store.signal(signal.SIGSTOP)
    time.sleep(3 * MAX_STALE_S)
    client.send("GET", "k")
    assert not client.readable(0.3)
    rig.store.signal(signal.SIGCONT)
    assert client.reply() == b"old"
    direct("SET", "k", "new")
    eventually(lambda: client("GET", "k"), b"new")
    rig.warm(client, "GET", "k")


@pytest.mark.weir_only
def test_case_09_weir_stopped(fleet):
    # Catches: judging max-stale by a clock read before the stop: the push still waits in the socket.
    rig = Rig(fleet)
    direct = rig.direct()
    clients = rig.clients(6)
    for n in range(5):
        direct("SET", "k", f"old{n}")
        for client in clients:
            eventually(lambda: client("GET", "k"), b"old%d" % n)
        rig.warm(clients[0], "GET", "k")
        rig.weir.signal(signal.SIGSTOP)
        direct("SET", "k", f"new{n}")
        for client in clients:
            client.send("GET", "k")
        time.sleep(2 * MAX_STALE_S)
        rig.weir.signal(signal.SIGCONT)
        assert [client.reply() for client in clients] == [b"new%d" % n] * len(clients)


def test_case_10_expiry_is_exact(fleet):
    # Catches: an entry without the key's own expiry, or one counted from the reply's arrival.
    rig = Rig(fleet)
    direct, client = rig.direct(), rig.client()
    direct("DEBUG", "SET-ACTIVE-EXPIRE", 0)
    hits = rig.hits()
    for n in range(20):
        direct("SET", "k", n, "PX", 60)
        gone_at = time.monotonic() + 0.060 + 0.003  # the store's clock ticks in milliseconds
        while True:
            asked_at = time.monotonic()
            value = client("GET", "k")
            assert value in (None, b"%d" % n)
            if asked_at > gone_at:
                assert value is None, f"served {asked_at - gone_at:.3f} s past its TTL"
                break
    assert DIRECT or rig.hits() > hits


def test_case_11_expire_shortens(fleet):
    # Catches: trusting the TTL known at the fill after EXPIRE changed it.
    rig = Rig(fleet)
    direct, client = rig.direct(), rig.client()
    direct("DEBUG", "SET-ACTIVE-EXPIRE", 0)
    direct("SET", "k", "v", "EX", 1000)
    assert rig.warm(client, "GET", "k") == b"v"
    direct("PEXPIRE", "k", 50)
    eventually(lambda: client("GET", "k"), None)
    client("SET", "k", "w", "EX", 1000)
    assert rig.warm(client, "GET", "k") == b"w"
    assert client("PEXPIRE", "k", 1) == 1
    time.sleep(0.005)
    assert client("GET", "k") is None


def test_case_11_persist(fleet):
    # Catches: an entry that goes on expiring, or a nil that is remembered, after PERSIST.
    rig = Rig(fleet)
    direct, client = rig.direct(), rig.client()
    direct("SET", "k", "v", "PX", 400)
    assert rig.warm(client, "GET", "k") == b"v"
    assert direct("PERSIST", "k") == 1
    time.sleep(0.5)
    assert client("GET", "k") == b"v"
    assert rig.warm(client, "GET", "k") == b"v"


@pytest.mark.parametrize("read, write, after", [
    (("GET", "k"), ("SET", "k", "v"), b"v"),
    (("EXISTS", "k"), ("SET", "k", "v"), 1),
    (("HGET", "k", "f"), ("HSET", "k", "f", "v"), b"v"),
    (("LRANGE", "k", 0, -1), ("RPUSH", "k", "v"), [b"v"]),
    (("ZSCORE", "k", "m"), ("ZADD", "k", 1, "m"), b"1"),
])
def test_case_12_negative_entry(fleet, read, write, after):
    # Catches: a remembered absence that no invalidation reaches.
    rig = Rig(fleet)
    direct, client, other = rig.direct(), rig.client(), rig.client()
    nothing = rig.warm(client, *read)
    assert nothing in (None, 0, [])
    direct(*write)
    eventually(lambda: client(*read), after)
    direct("DEL", "k")
    eventually(lambda: client(*read), nothing)
    rig.warm(client, *read)
    other(*write)
    assert client(*read) == after


def test_case_13_one_key_in_two_databases(fleet):
    # Catches: matching invalidations by database (a push names no database), and mixing values.
    rig = Rig(fleet)
    direct, zero, one = rig.direct(), rig.client(), rig.client()
    direct.pipeline([("SET", "k", "zero"), ("SELECT", 1), ("SET", "k", "one")])
    assert one("SELECT", 1) == "OK"
    for n in range(20):
        assert rig.warm(zero, "GET", "k") == b"zero"
        assert rig.warm(one, "GET", "k") == b"one" + b"+" * n
        direct("APPEND", "k", "+")  # foreign, db 1
        eventually(lambda: one("GET", "k"), b"one" + b"+" * (n + 1))
    other = rig.client()
    other.pipeline([("SELECT", 1), ("SET", "k", "own")])
    assert one("GET", "k") == b"own"
    assert zero("GET", "k") == b"zero"


@pytest.mark.weir_only
def test_case_13_write_in_db_1_drops_the_copy_of_db_0(fleet):
    # Catches: leaving an entry which the store, after its one push, no longer watches.
    rig = Rig(fleet)
    direct, zero = rig.direct(), rig.client()
    direct("SET", "k", "zero")
    direct("SELECT", 1)
    rig.warm(zero, "GET", "k")
    pushes = rig.weir.metric("cache_invalidations_total")
    direct("SET", "k", "one")
    wait_until(lambda: rig.weir.metric("cache_invalidations_total") > pushes, "the push")
    assert rig.hits_of(lambda: zero("GET", "k")) == 0
    direct("SELECT", 0)
    direct("SET", "k", "new")
    eventually(lambda: zero("GET", "k"), b"new")


@pytest.mark.parametrize("flush", [("FLUSHALL",), ("FLUSHALL", "ASYNC"), ("FLUSHDB",),
                                   ("FLUSHDB", "ASYNC"), ("EVAL", "redis.call('FLUSHALL')", 0)])
@pytest.mark.parametrize("own", [False, True], ids=["foreign", "own"])
def test_case_14_flush(fleet, flush, own):
    # Catches: ignoring a push of null, or answering an own flush before dropping everything.
    rig = Rig(fleet)
    direct, clients = rig.direct(), rig.clients(6)
    for n in range(5):
        direct.pipeline([("SET", f"k{i}", n) for i in range(50)])
        for client in clients:
            for i in range(50):
                eventually(lambda: client("GET", f"k{i}"), b"%d" % n)
        rig.warm(clients[0], "GET", "k1")
        writer = rig.client() if own else direct
        assert not isinstance(writer(*flush), Error)
        if own:
            for client in clients:
                assert client.pipeline([("GET", f"k{i}") for i in range(50)]) == [None] * 50
        for client in clients:
            eventually(lambda: client("GET", "k1"), None)


@pytest.mark.weir_only
def test_case_14_flush_of_another_db(fleet):
    # Catches: keeping entries for which the store has forgotten that weir holds them.
    rig = Rig(fleet)
    direct, client = rig.direct(), rig.client()
    direct("SET", "k", "v")
    rig.warm(client, "GET", "k")
    direct.pipeline([("SELECT", 5), ("SET", "x", "y"), ("FLUSHDB",), ("SELECT", 0)])
    direct("SET", "k", "new")
    eventually(lambda: client("GET", "k"), b"new")


def test_case_15_swapdb(fleet):
    # Catches: waiting for a push: SWAPDB sends none.
    rig = Rig(fleet)
    direct, zero, one, swapper = rig.direct(), rig.client(), rig.client(), rig.client()
    direct.pipeline([("SET", "k", "a"), ("SELECT", 1), ("SET", "k", "b")])
    one("SELECT", 1)
    values = [b"a", b"b"]
    for _ in range(6):
        assert [rig.warm(zero, "GET", "k"), rig.warm(one, "GET", "k")] == values
        assert swapper("SWAPDB", 0, 1) == "OK"
        values.reverse()
        assert [zero("GET", "k"), one("GET", "k")] == values
        swapper.pipeline([("MULTI",), ("SWAPDB", 0, 1), ("EXEC",)])
        values.reverse()
        assert [zero("GET", "k"), one("GET", "k")] == values


SET_SCRIPT = "return redis.call('SET', KEYS[1] or 'k', 'new')"
GET_K = ("GET", "k")
WRITES = {  # name: what prepares, the read that is warm, what changes it, the read's value after
    "set": ([], GET_K, [("SET", "k", "new")], b"new"),
    "multi": ([], GET_K, [("MULTI",), ("SET", "k", "new"), ("EXEC",)], b"new"),
    "eval declared": ([], GET_K, [("EVAL", SET_SCRIPT, 1, "k")], b"new"),
    "eval undeclared": ([], GET_K, [("EVAL", SET_SCRIPT, 0)], b"new"),
    "multi eval": ([], GET_K, [("MULTI",), ("EVAL", SET_SCRIPT, 0), ("EXEC",)], b"new"),
    "function": ([("FUNCTION", "LOAD", "#!lua name=lib\nredis.register_function('put',"
                  " function(k, a) return redis.call('SET', k[1] or 'k', 'new') end)")],
                 GET_K, [("FCALL", "put", 0)], b"new"),
    "mset": ([], GET_K, [("MSET", "other", "x", "k", "new")], b"new"),
    "msetnx": ([("DEL", "k")], GET_K, [("MSETNX", "other", "x", "k", "new")], b"new"),
    "rename": ([("SET", "source", "new")], GET_K, [("RENAME", "source", "k")], b"new"),
    "rename away": ([], GET_K, [("RENAME", "k", "elsewhere")], None),
    "copy": ([("SET", "source", "new")], GET_K, [("COPY", "source", "k", "REPLACE")], b"new"),
    "move": ([], GET_K, [("MOVE", "k", 1)], None),
    "getset": ([], GET_K, [("GETSET", "k", "new")], b"new"),
    "getdel": ([], GET_K, [("GETDEL", "k")], None),
    "getex": ([], GET_K, [("GETEX", "k", "PXAT", 1)], None),
    "append": ([], GET_K, [("APPEND", "k", "+")], b"old+"),
    "setrange": ([], GET_K, [("SETRANGE", "k", 0, "new")], b"new"),
    "setbit": ([], ("GETBIT", "k", 0), [("SETBIT", "k", 0, 1)], 1),
    "bitop": ([("SET", "source", "new")], GET_K, [("BITOP", "OR", "k", "source")], b"new"),
    "bitfield": ([], ("BITCOUNT", "k"), [("BITFIELD", "k", "SET", "u8", 0, 0)], 7),
    "expire": ([], GET_K, [("EXPIRE", "k", -1)], None),
    "restore": ([], GET_K, [("RESTORE", "k", 0, None, "REPLACE")], b"new"),
    "unlink": ([], GET_K, [("UNLINK", "other", "k")], None),
    "incr": ([("SET", "k", 41)], GET_K, [("INCR", "k")], b"42"),
    "incrbyfloat": ([("SET", "k", 1)], GET_K, [("INCRBYFLOAT", "k", "0.5")], b"1.5"),
    "psetex": ([], GET_K, [("PSETEX", "k", 100000, "new")], b"new"),
    "pfadd": ([("DEL", "k")], ("PFCOUNT", "k"), [("PFADD", "k", "a")], 1),
    "hset": ([("DEL", "k"), ("HSET", "k", "f", 1)], ("HGETALL", "k"),
             [("HSET", "k", "f", 2)], [b"f", b"2"]),
    "hdel": ([("DEL", "k"), ("HSET", "k", "f", 1)], ("HGET", "k", "f"), [("HDEL", "k", "f")], None),
    "lpush": ([("DEL", "k")], ("LRANGE", "k", 0, -1), [("LPUSH", "k", "a")], [b"a"]),
    "lmove": ([("DEL", "k"), ("LPUSH", "source", "a")], ("LINDEX", "k", 0),
              [("LMOVE", "source", "k", "LEFT", "LEFT")], b"a"),
    "lmpop": ([("DEL", "k"), ("RPUSH", "k", "a", "b")], ("LRANGE", "k", 0, -1),
              [("LMPOP", 2, "none", "k", "LEFT")], [b"b"]),
    "blpop": ([("DEL", "k"), ("RPUSH", "k", "a", "b")], ("LLEN", "k"),
              [("BLPOP", "none", "k", 1)], 1),
    "sort store": ([("DEL", "k"), ("RPUSH", "source", 2, 1)], ("LRANGE", "k", 0, -1),
                   [("SORT", "source", "STORE", "k")], [b"1", b"2"]),
    "sadd": ([("DEL", "k")], ("SCARD", "k"), [("SADD", "k", "a")], 1),
    "spop": ([("DEL", "k"), ("SADD", "k", "a")], ("SISMEMBER", "k", "a"), [("SPOP", "k")], 0),
    "smove": ([("DEL", "k"), ("SADD", "k", "a")], ("SCARD", "k"), [("SMOVE", "k", "to", "a")], 0),
    "sunionstore": ([("DEL", "k"), ("SADD", "a", 1), ("SADD", "b", 2)], ("SCARD", "k"),
                    [("SUNIONSTORE", "k", "a", "b")], 2),
    "zadd": ([("DEL", "k")], ("ZSCORE", "k", "m"), [("ZADD", "k", 2, "m")], b"2"),
    "zunionstore": ([("DEL", "k"), ("ZADD", "a", 1, "m")], ("ZSCORE", "k", "m"),
                    [("ZUNIONSTORE", "k", 2, "a", "b")], b"1"),
    "zrangestore": ([("DEL", "k"), ("ZADD", "a", 1, "m")], ("ZCARD", "k"),
                    [("ZRANGESTORE", "k", "a", 0, -1)], 1),
    "geosearchstore": ([("DEL", "k"), ("GEOADD", "g", 1, 1, "m")], ("ZCARD", "k"),
                       [("GEOSEARCHSTORE", "k", "g", "FROMMEMBER", "m", "BYRADIUS", 1, "m")], 1),
    "georadius store": ([("DEL", "k"), ("GEOADD", "g", 1, 1, "m")], ("ZCARD", "k"),
                        [("GEORADIUS", "g", 1, 1, 100, "km", "STORE", "k")], 1),
    "xadd": ([("DEL", "k")], ("XLEN", "k"), [("XADD", "k", "*", "f", "v")], 1),
    "exec and more": ([], GET_K, [("MULTI",), ("SET", "k", 1), ("INCR", "k"), ("EXEC",)], b"2"),
}


@pytest.fixture(scope="module")
def shared(module_fleet):
    return Rig(module_fleet)


@pytest.mark.parametrize("name", WRITES)
def test_case_16_read_your_writes(shared, name):
    # Catches: a write whose keys weir does not know, answered while an old entry stands.
    prepare, read, change, after = WRITES[name]
    direct, writer, readers = shared.direct(), shared.client(), shared.clients(3)
    dump = (direct("SET", "k", "new"), direct("DUMP", "k"))[1]
    change = [tuple(dump if arg is None else arg for arg in command) for command in change]
    for one_write in (False, True):  # one by one, and in one pipeline with the read behind it
        direct("FLUSHALL")
        direct("FUNCTION", "FLUSH")
        for command in [("SET", "k", "old"), *prepare]:
            assert not isinstance(direct(*command), Error), command
        before = direct(*read)
        for client in [writer, *readers]:
            eventually(lambda: client(*read), before)
        shared.warm(writer, *read)
        if one_write:
            replies = writer.pipeline([*change, read])
        else:
            replies = [writer(*command) for command in change] + [writer(*read)]
        assert not [reply for reply in replies if isinstance(reply, Error)]
        assert replies[-1] == after
        assert [client(*read) for client in readers] == [after] * len(readers)
    for client in [direct, writer, *readers]:
        client.close()


def test_case_17_small_tracking_table(fleet):
    # Catches: believing that a push without a change may be ignored.
    rig = Rig(fleet, store_options={"tracking-table-max-keys": 100})
    direct, client = rig.direct(), rig.client()
    keys = [f"k{i}" for i in range(1000)]
    for n in range(3):
        value = b"%d" % n
        direct.pipeline([("SET", key, n) for key in keys])
        for key in keys:
            eventually(lambda: client("GET", key), value)
        assert client.pipeline([("GET", key) for key in keys]) == [value] * len(keys)


def test_case_18_eviction_by_maxmemory(fleet):
    # Catches: treating eviction as the store's private affair.
    rig = Rig(fleet, store_options={"maxmemory": "4mb", "maxmemory-policy": "allkeys-random"})
    direct, client = rig.direct(), rig.client()
    keys = [f"k{i}" for i in range(1000)]
    direct.pipeline([("SET", key, "v" * 500) for key in keys])
    for _ in range(3):
        client.pipeline([("GET", key) for key in keys])
    direct.pipeline([("SET", f"other{i}", "v" * 500) for i in range(6000)])
    evicted = [key for key, left in zip(keys, direct.pipeline([("EXISTS", key) for key in keys]))
               if not left]
    assert len(evicted) > 100
    for key in evicted:
        eventually(lambda: client("GET", key), None)


@pytest.mark.weir_only
def test_case_21_replica_and_promotion(fleet):
    # Catches: entries carried over a resynchronization or a change of role, and losing sight of
    # writes that come by replication. What weir promises is what this node itself would answer.
    rig = Rig(fleet)
    primary = fleet.redis(**{"repl-diskless-sync-delay": 0})
    direct, other, client = rig.direct(), primary.client(), rig.client()
    direct("SET", "k", "old")
    other("SET", "k", "new")
    rig.warm(client, "GET", "k")
    assert direct("REPLICAOF", "127.0.0.1", primary.port) == "OK"
    eventually(lambda: client("GET", "k"), b"new")
    rig.warm(client, "GET", "k")
    other("SET", "k", "newer")
    eventually(lambda: client("GET", "k"), b"newer")
    assert direct("REPLICAOF", "NO", "ONE") == "OK"
    direct("SET", "k", "promoted")
    eventually(lambda: client("GET", "k"), b"promoted")
    rig.warm(client, "GET", "k")
    direct("SET", "k", "last")
    eventually(lambda: client("GET", "k"), b"last")


@pytest.mark.weir_only
@pytest.mark.parametrize("how", ["kill", "shutdown"])
def test_case_22_restart(fleet, how):
    # Catches: entries that survive the store which they came from.
    rig = Rig(fleet)
    client, others = rig.client(), rig.clients(4)
    for n in range(3):
        rig.store.client()("SET", "k", f"old{n}")
        eventually(lambda: client("GET", "k"), b"old%d" % n)
        rig.warm(client, "GET", "k")
        rig.store.close_clients()
        if how == "kill":
            rig.store.kill()
        else:
            rig.store.signal(signal.SIGTERM)
            rig.store.wait()
        rig.store.restart()
        eventually(lambda: client("GET", "k"), None)
        for other in others:
            eventually(lambda: other("GET", "k"), None)


@pytest.mark.weir_only
def test_case_23_connection_commands_stay_off_the_lane(fleet):
    # Catches: forwarding what would end tracking, silence replies or change the lane's database.
    rig = Rig(fleet)
    direct, client, victim = rig.direct(), rig.client(), rig.client()
    direct("SET", "k", 0)
    rig.warm(victim, "GET", "k")
    disturbances = [
        [("HELLO", 2)], [("HELLO", 3), ("HELLO", 2)], [("RESET",)], [("SELECT", 3)],
        [("CLIENT", "TRACKING", "ON")], [("CLIENT", "TRACKING", "OFF")],
        [("CLIENT", "CACHING", "NO")], [("CLIENT", "NO-EVICT", "off")],
        [("MULTI",), ("RESET",)], [("MULTI",), ("HELLO", 2), ("DISCARD",)],
        [("MULTI",), ("SELECT", 4), ("EXEC",)],
    ]
    for n, commands in enumerate(disturbances, 1):
        client.pipeline([*commands, ("RESET",)])
        client.send_raw(b"CLIENT REPLY SKIP\r\nPING\r\nCLIENT REPLY OFF\r\nPING\r\nCLIENT REPLY ON\r\n")
        assert client.reply() == "OK"
        direct("SET", "k", n)
        eventually(lambda: victim("GET", "k"), b"%d" % n, commands)
        rig.warm(victim, "GET", "k")
    lanes = [line for line in direct("CLIENT", "LIST").decode().splitlines()
             if "t" in dict(f.split("=", 1) for f in line.split() if "=" in f)["flags"]]
    assert lanes and all("resp=3" in line for line in lanes)


def test_case_24_wrongtype_is_not_cached(fleet):
    # Catches: an error stored like a value.
    rig = Rig(fleet)
    direct, client = rig.direct(), rig.client()
    direct("LPUSH", "k", "a")
    wrong = direct("GET", "k")
    assert isinstance(wrong, Error)
    hits = rig.hits_of(lambda: [client("GET", "k") for _ in range(5)])
    assert not hits
    assert client("GET", "k") == wrong
    direct.pipeline([("DEL", "k"), ("SET", "k", "v")])
    eventually(lambda: client("GET", "k"), b"v")


@pytest.mark.weir_only
def test_case_24_noperm_is_not_cached(fleet):
    # Catches: a refusal stored: the grant that ends it changes no key and pushes nothing.
    store = fleet.redis()
    direct = store.client()
    direct("ACL", "SETUSER", "app", "on", ">secret", "~open:*", "+@all")
    direct("SET", "closed:k", "v")
    rig = Rig(fleet, fleet_store(store, "app:secret"))
    client = rig.client()
    for _ in range(5):
        refused = client("GET", "closed:k")
        assert isinstance(refused, Error) and refused.startswith("NOPERM")
    direct("ACL", "SETUSER", "app", "~*")
    assert client("GET", "closed:k") == b"v"


class fleet_store:
    """A running store under another URL: with credentials."""

    def __init__(self, store, credentials):
        self.store = store
        self.url = store.url.replace("//", f"//{credentials}@")

    def __getattr__(self, name):
        return getattr(self.store, name)


def test_case_25_invalidation_storm(fleet):
    # Catches: losing pushes when they come faster than they are read.
    rig = Rig(fleet)
    direct, client = rig.direct(), rig.client()
    count, batch = scaled(100_000), 1000
    batches = [[f"key:{i}" for i in range(start, start + batch)]
               for start in range(0, count, batch)]

    def overwrite(n):
        for keys in batches:
            direct("MSET", *itertools.chain.from_iterable((key, n) for key in keys))

    overwrite(0)
    for keys in batches:
        assert client.pipeline([("GET", key) for key in keys]) == [b"0"] * batch
    storm = Worker(overwrite, 1)
    while storm.is_alive():
        assert set(client.pipeline([("GET", "key:7"), ("GET", "key:77777")])) <= {b"0", b"1", None}
    storm.finish()
    time.sleep(MAX_STALE_S)
    for keys in batches:
        assert client.pipeline([("GET", key) for key in keys]) == [b"1"] * batch


@pytest.mark.weir_only
@pytest.mark.skipif(sanitized(), reason="a sanitizer's own memory is not weir's")
def test_case_26_memory_is_a_bound(fleet):
    # Catches: buffers or cache outside of the one budget.
    rig = Rig(fleet, memory="64mb")
    direct, client = rig.direct(), rig.client(timeout=60)
    direct("SET", "huge", b"h" * 1_000_000)
    slow = [rig.client(receive_buffer=4096) for _ in range(40)]
    for reader in slow:
        reader.send_raw(b"*2\r\n$3\r\nGET\r\n$4\r\nhuge\r\n" * 30)
    for size in (16, 100_000, 64, 1_000_000, 1000, 300_000, 32, 10_000):
        keys = [f"{size}:{i}" for i in range(max(8, min(2000, 24_000_000 // size)))]
        for start in range(0, len(keys), 50):
            part = keys[start:start + 50]
            for key in part:
                direct("SET", key, random.randbytes(size))
            for key in part * 2:
                reply = client("GET", key)
                assert isinstance(reply, bytes) and len(reply) == size
        direct("FLUSHALL")
    assert rig.weir.peak_rss_bytes() <= 64 << 20


def test_case_27_b_is_never_seen_without_a(fleet):
    # Catches: two writes of one client that take effect out of order, or a hit on a that is older
    # than the b just read.
    rig = Rig(fleet)
    writer, stop = rig.client(), threading.Event()
    writer.pipeline([("SET", "a", 0), ("SET", "b", 0)])

    def write():
        for n in itertools.count(1):
            if stop.is_set():
                return
            writer.pipeline([("SET", "a", n), ("SET", "b", n)])

    def read(client, pipelined):
        for _ in range(scaled(2500)):
            if pipelined:
                b, a = client.pipeline([("GET", "b"), ("GET", "a")])
            else:
                b, a = client("GET", "b"), client("GET", "a")
            assert int(a) >= int(b)

    def read_at_once(client):
        for _ in range(scaled(2500)):
            b, a = client("MGET", "b", "a")
            assert int(b) <= int(a) <= int(b) + 1

    hits = rig.hits()
    writing = Worker(write)
    clients = rig.clients(5)
    readers = [Worker(read, client, n % 2 == 1) for n, client in enumerate(clients[:4])]
    readers.append(Worker(read_at_once, clients[4]))
    try:
        finish_all(readers)
    finally:
        stop.set()
    writing.finish()
    assert DIRECT or rig.hits() > hits


def test_case_27_a_hit_waits_for_the_write_before_it(fleet):
    # Catches: SET a, GET b in one pipeline where the hit on b overtakes the SET: then both clients
    # could read the other's old value.
    rig = Rig(fleet)
    left, right = rig.client(), rig.client()
    both = threading.Barrier(2)
    seen = {}

    def play(client, mine, other):
        for n in range(1, scaled(600) + 1):
            client("GET", other)
            client("GET", other)
            both.wait(60)
            seen[mine] = int(client.pipeline([("SET", mine, n), ("GET", other)])[1])
            both.wait(60)
            assert n in (seen["a"], seen["b"]), f"round {n}: both read the past"
            both.wait(60)

    rig.direct().pipeline([("SET", "a", 0), ("SET", "b", 0)])
    finish_all([Worker(play, left, "a", "b"), Worker(play, right, "b", "a")])


def test_case_28_no_update_is_lost(fleet):
    # Catches: WATCH answered while an older value can still be hit; then EXEC succeeds on it.
    rig = Rig(fleet)
    direct = rig.direct()
    direct("SET", "n", 0)
    rounds = scaled(200)
    added = []

    def add(client):
        for _ in range(rounds):
            client("WATCH", "n")
            value = int(client("GET", "n"))
            client("MULTI")
            client("SET", "n", value + 1)
            if client("EXEC") is not None:
                added.append(1)

    def add_elsewhere():
        for _ in range(rounds):
            direct("INCR", "n")
            added.append(1)
            time.sleep(0.001)

    def keep_warm(client):
        for _ in range(rounds * 4):
            client("GET", "n")

    workers = [Worker(add, client) for client in rig.clients(3)]
    workers += [Worker(keep_warm, client) for client in rig.clients(2)] + [Worker(add_elsewhere)]
    finish_all(workers)
    assert int(direct("GET", "n")) == len(added)
    assert len(added) > rounds


def test_case_29_eval_then_multi_then_get(fleet):
    # Catches: a value seen on a private connection and then, by a hit, its predecessor.
    rig = Rig(fleet)
    a, b = rig.client(), rig.client()
    a("SET", "k", 0)
    for n in range(1, scaled(200)):
        b("GET", "k")
        b("GET", "k")
        a.send("EVAL", "return redis.call('SET', 'k', ARGV[1])", 0, n)
        b.pipeline([("MULTI",), ("GET", "k")])
        seen = int(b("EXEC")[0])
        assert int(b("GET", "k")) >= seen
        assert a.reply() == "OK"
        assert int(b("GET", "k")) == n


def test_case_33_xinfo_is_never_cached(fleet):
    # Catches: caching a reply that XREADGROUP elsewhere changes without any invalidation.
    rig = Rig(fleet)
    direct, client = rig.direct(), rig.client()
    direct.pipeline([("XADD", "s", "*", "f", "v") for _ in range(20)])
    direct("XGROUP", "CREATE", "s", "g", 0)
    reads = [("XINFO", "GROUPS", "s"), ("XINFO", "STREAM", "s"), ("XPENDING", "s", "g")]
    for _ in range(20):
        for read in reads:
            assert [client(*read), client(*read)] == [direct(*read)] * 2
        direct("XREADGROUP", "GROUP", "g", "me", "COUNT", 1, "STREAMS", "s", ">")
