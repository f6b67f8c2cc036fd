"""Whatever changes the reply of a cacheable command pushes an invalidation to who read it.

The list is the table's own (COMMAND_CACHEABLE). First: each command registers its key for tracking.
Then, for each kind of value and kind of change: one connection runs all reads with tracking on,
another changes, a third runs the reads again. If any reply differs, the first must have had a push.
Each command must have had a change that shows.

Not here: SWAPDB, and PFDEBUG TODENSE, which rewrites a value silently; both are writes of the
table, so weir itself drops what they touch.
"""
import time

import pytest

from wire_library import FLAGS, Connection, Server, Wire, encode

SETUPS = {
    "string": "SET k hello",
    "number": "SET k 10",
    "expiring": "SET k hello PXAT 4000000000000",
    "list": "RPUSH k a b c a",
    "hash": "HSET k f v g 10",
    "set": "SADD k a b c",
    "ints": "SADD k 1 2 3",
    "zset": "ZADD k 1 a 2 b 3 c",
    "geo": "GEOADD k 13.361389 38.115556 a 15.087269 37.502669 b",
    "stream": "XADD k 1-1 f v",
    "hll": "PFADD k a b c",
    "missing": "PING",
}
# For each cacheable command: the reads, each with the kinds of data it makes sense on.
READS = {
    "get": ["GET k"], "mget": ["MGET k"], "strlen": ["STRLEN k"], "getrange": ["GETRANGE k 0 2"],
    "substr": ["SUBSTR k 0 -1"], "getbit": ["GETBIT k 1", "GETBIT k 7"],
    "bitcount": ["BITCOUNT k"], "bitpos": ["BITPOS k 1", "BITPOS k 0"],
    "bitfield_ro": ["BITFIELD_RO k GET u8 0"], "type": ["TYPE k"], "exists": ["EXISTS k"],
    "expiretime": ["EXPIRETIME k"], "pexpiretime": ["PEXPIRETIME k"],
    "pfcount": ["PFCOUNT k"],
    "hget": ["HGET k f", "HGET k none"], "hgetall": ["HGETALL k"], "hmget": ["HMGET k f none"],
    "hlen": ["HLEN k"], "hexists": ["HEXISTS k f"], "hkeys": ["HKEYS k"], "hvals": ["HVALS k"],
    "hstrlen": ["HSTRLEN k f"],
    "lrange": ["LRANGE k 0 -1"], "llen": ["LLEN k"], "lindex": ["LINDEX k 0"],
    "lpos": ["LPOS k b", "LPOS k a COUNT 0"],
    "smembers": ["SMEMBERS k"], "sismember": ["SISMEMBER k a", "SISMEMBER k 1"],
    "smismember": ["SMISMEMBER k a z"], "scard": ["SCARD k"],
    "zrange": ["ZRANGE k 0 -1 WITHSCORES"], "zrevrange": ["ZREVRANGE k 0 0"],
    "zrangebyscore": ["ZRANGEBYSCORE k 0 2"], "zrevrangebyscore": ["ZREVRANGEBYSCORE k 2 0"],
    "zrangebylex": ["ZRANGEBYLEX k - +"], "zrevrangebylex": ["ZREVRANGEBYLEX k + -"],
    "zscore": ["ZSCORE k a"], "zmscore": ["ZMSCORE k a z"], "zcard": ["ZCARD k"],
    "zcount": ["ZCOUNT k 1 2"], "zlexcount": ["ZLEXCOUNT k - +"], "zrank": ["ZRANK k b"],
    "zrevrank": ["ZREVRANK k a"],
    "geopos": ["GEOPOS k a z"], "geodist": ["GEODIST k a b"], "geohash": ["GEOHASH k a"],
    "geosearch": ["GEOSEARCH k FROMLONLAT 15 37 BYRADIUS 900 km ASC"],
    "xlen": ["XLEN k"], "xrange": ["XRANGE k - +"], "xrevrange": ["XREVRANGE k + -"],
}
HELPERS = """
SET o_string other
RPUSH o_list x y z
HSET o_hash f other
SADD o_set a z
ZADD o_zset 5 a 6 z
GEOADD o_geo 2 3 a
XADD o_stream 9-9 f v
PFADD o_hll x y z
"""
# `;` joins commands; <5ms> waits; @1 runs the rest in db 1.
CHANGES = """
DEL k
UNLINK k
FLUSHDB
FLUSHALL ASYNC
@1 FLUSHALL
RENAME k gone
RENAME o_string k
RENAME o_list k
RENAMENX k fresh
COPY o_string k REPLACE
COPY o_hash k REPLACE
COPY o_zset k REPLACE
MOVE k 1
@1 SET k moved ; MOVE k 0
@1 SADD k moved ; MOVE k 0
EXPIRE k 100
PEXPIRE k 100000
EXPIREAT k 4000000001
PEXPIREAT k 4000000000001
EXPIRE k -1
EXPIREAT k 1
PERSIST k
PEXPIRE k 1 ; <5ms> ; EXISTS k
PEXPIRE k 1 ; <5ms> ; GET k
DEBUG SET-ACTIVE-EXPIRE 0 ; PEXPIRE k 1 ; <5ms> ; TTL k ; DEBUG SET-ACTIVE-EXPIRE 1
PEXPIRE k 1 ; <300ms>
SET k other
SET k hello
SET k v EX 100
SET k v KEEPTTL
SET k v NX
SET k v XX
SET k v GET
SETNX k v
SETEX k 100 v
PSETEX k 100000 v
MSET k v x y
MSETNX k v x y
GETSET k v
GETDEL k
GETEX k EX 100
GETEX k PERSIST
GETEX k EXAT 1
APPEND k x
SETRANGE k 2 xx
SETBIT k 1 1
SETBIT k 1 0
SETBIT k 7 1
BITFIELD k SET u8 0 200
BITFIELD k INCRBY u8 0 1
BITOP NOT k o_string
BITOP AND k none none2
INCR k
DECRBY k 3
INCRBYFLOAT k 0.5
PFADD k new
PFMERGE k o_hll
PFCOUNT k
PFADD k new ; PFCOUNT k
LPUSH k x
RPUSH k x
LPUSHX k x
RPUSHX k x
LINSERT k BEFORE b x
LSET k 0 x
LREM k 0 a
LTRIM k 0 0
LTRIM k 9 9
LPOP k
RPOP k 9
LMOVE k other LEFT RIGHT
LMOVE o_list k LEFT RIGHT
LMOVE k k LEFT RIGHT
RPOPLPUSH o_list k
BRPOPLPUSH o_list k 0
BLMOVE o_list k LEFT LEFT 0
BLMOVE k other LEFT LEFT 0.001
LMPOP 1 k LEFT COUNT 2
BLMPOP 0.001 1 k LEFT
BLPOP k 0.001
BRPOP k 0.001
SORT o_list ALPHA STORE k
SORT none STORE k
HSET k f other
HSET k h 1
HMSET k f other
HSETNX k f other
HSETNX k new 1
HDEL k f
HDEL k f g
HINCRBY k g 1
HINCRBY k f 1
HINCRBYFLOAT k g 1.5
SADD k new
SADD k 99
SREM k a
SREM k a b c 1 2 3
SPOP k
SPOP k 9
SMOVE k other a
SMOVE o_set k z
SUNIONSTORE k o_set
SINTERSTORE k o_set none
SDIFFSTORE k o_set none
ZADD k 9 new
ZADD k 9 a
ZADD k GT 9 a
ZADD k INCR 1 a
ZINCRBY k 1 a
ZREM k a
ZREM k a b c
ZREMRANGEBYSCORE k 0 1
ZREMRANGEBYRANK k 0 0
ZREMRANGEBYLEX k - +
ZPOPMIN k
ZPOPMAX k 2
ZMPOP 1 k MIN
BZPOPMIN k 0.001
BZPOPMAX k 0.001
BZMPOP 0.001 1 k MAX
ZUNIONSTORE k 1 o_zset
ZINTERSTORE k 2 o_zset none
ZDIFFSTORE k 1 o_zset
ZRANGESTORE k o_zset 0 -1
GEOADD k 9 9 a
GEOADD k 9 9 new
GEOADD k CH XX 1 1 b
GEOSEARCHSTORE k o_geo FROMLONLAT 2 3 BYRADIUS 100 km
GEORADIUS o_geo 2 3 100 km STORE k
GEORADIUSBYMEMBER o_geo a 100 km STOREDIST k
XADD k 5-5 f v
XADD k MAXLEN 1 6-6 f v
XDEL k 1-1
XTRIM k MAXLEN 0
XTRIM k MINID 9
XSETID k 9-9
XGROUP CREATE k g $ MKSTREAM
XGROUP CREATE k g 0 ; XREADGROUP GROUP g c STREAMS k > ; XACK k g 1-1
XGROUP CREATE k g 0 ; XREADGROUP GROUP g c STREAMS k > ; XDEL k 1-1 ; XAUTOCLAIM k g d 0 0
XGROUP CREATE k g 0 ; XREADGROUP GROUP g c STREAMS k > ; XCLAIM k g d 0 1-1
EVAL return\\sredis.call('set','k','script') 0
EVAL return\\sredis.call('del',KEYS[1]) 1 k
EVAL redis.setresp(3);return\\sredis.call('append','k','x') 0
MULTI ; SET k multi ; EXEC
MULTI ; DEL k ; SADD k x ; EXEC
FUNCTION LOAD REPLACE #!lua\\sname=l\\nredis.register_function('f',function(k,a)return\\sredis.call('set','k','f')end) ; FCALL f 0
DUMP
MIGRATE
EVICT
BLOCKED
"""


def words(line):
    return [w.replace("\\s", " ").replace("\\n", "\n") for w in line.split()]


class Bench:
    """Two servers (the second to migrate to) and the connections that play the parts."""

    def __init__(self):
        self.wire = Wire()
        self.server, self.target = Server(), Server()
        port = self.server.port
        self.reader = Connection(self.wire, port, 3)
        self.reader.run("CLIENT", "TRACKING", "ON")
        self.changer = Connection(self.wire, port)
        self.other_db = Connection(self.wire, port)
        self.other_db.run("SELECT", "1")
        self.again = Connection(self.wire, port, 3)
        self.blocked = Connection(self.wire, port)
        self.other_target = Connection(self.wire, self.target.port)

    def close(self):
        self.server.close()
        self.target.close()

    def dumped(self):
        self.changer.run("SET", "tmp", "restored")
        frame = self.changer.run("DUMP", "tmp")
        self.changer.run("RESTORE", "k", "0", frame.split(b"\r\n", 1)[1][:-2], "REPLACE")

    def evicted(self):
        self.changer.run("CONFIG", "SET", "maxmemory-policy", "allkeys-random", "maxmemory", "1")
        self.changer.run("SET", "x", "y")
        self.changer.run("CONFIG", "SET", "maxmemory", "0")

    def served(self):
        """A client blocked on the key takes what is pushed, within the command that pushes it."""
        self.blocked.send("BLPOP", "k", "1")
        for _ in range(1000):
            if b"blocked_clients:1" in self.changer.run("INFO", "clients"):
                break
            if b"WRONGTYPE" in self.blocked.pending:
                break
        self.changer.run("RPUSH", "k", "one", "two")
        self.blocked.frame()

    def change(self, line):
        special = {"DUMP": self.dumped, "EVICT": self.evicted}
        if line in special:
            return special[line]()
        if line == "BLOCKED":
            kind = self.changer.run("TYPE", "k")
            return self.served() if kind == b"+none\r\n" else None
        if line == "MIGRATE":
            self.other_target.run("FLUSHALL")
            return self.changer.run("MIGRATE", "127.0.0.1", self.target.port, "k", "0", "1000")
        connection = self.changer
        for part in line.split(" ; "):
            if part.startswith("<"):
                time.sleep(int(part[1:-3]) / 1000)
                continue
            if part.startswith("@1 "):
                connection, part = self.other_db, part[3:]
            connection.run(*words(part))
        return None

    def pushes(self):
        """What the reader was pushed until now: the bodies of its push frames."""
        self.reader.send("PING")
        got = []
        while (frame := self.reader.frame()) != b"+PONG\r\n":
            assert frame.startswith(b">"), frame
            got.append(frame)
        return got

    def prepare(self, setup):
        self.changer.socket.sendall(b"".join(
            encode(words(line)) for line in ["FLUSHALL", *HELPERS.split("\n")[1:-1], setup]))
        for _ in range(2 + HELPERS.count("\n") - 1):
            reply = self.changer.frame()
            assert not reply.startswith(b"-"), (setup, reply)
        self.pushes()

    def read(self, line):
        self.reader.send(*words(line))
        while (frame := self.reader.frame()).startswith(b">"):
            pass
        return frame


@pytest.fixture(scope="module")
def bench():
    bench = Bench()
    yield bench
    bench.close()


def cacheable(wire):
    return {c.name.decode() for c in wire.commands() if c.flags & FLAGS["COMMAND_CACHEABLE"]}


def test_the_list_is_the_tables(bench):
    assert cacheable(bench.wire) == set(READS)


def test_cacheable_commands_are_reads_of_keys(bench):
    for command in bench.wire.commands():
        if not command.flags & FLAGS["COMMAND_CACHEABLE"]:
            continue
        assert command.flags & FLAGS["COMMAND_READONLY"], command.name
        assert not command.flags & FLAGS["COMMAND_MOVABLE_KEYS"], command.name
        assert command.first_key == 1, command.name


@pytest.mark.parametrize("name", sorted(READS))
def test_each_command_is_tracked(bench, name):
    """Whatever the type of the value, missing keys and errors included."""
    for read in READS[name]:
        for setup in SETUPS.values():
            bench.prepare(setup)
            bench.read(read)
            bench.pushes()
            bench.read(read)
            bench.changer.run("SET", "k", "anything")
            assert len(bench.pushes()) == 1, (read, setup)


ALL_READS = [(name, read) for name, reads in READS.items() for read in reads]
PIPELINE = b"".join(encode(words(read)) for _, read in ALL_READS)


def read_all(connection):
    """The replies to ALL_READS, in order; pushes are left out."""
    connection.socket.sendall(PIPELINE)
    got = []
    while len(got) < len(ALL_READS):
        frame = connection.frame()
        if not frame.startswith(b">"):
            got.append(frame)
    return got


def test_every_change_pushes(bench):
    shown, silent = set(), []
    for setup in SETUPS.values():
        for change in CHANGES.strip().split("\n"):
            if "<300ms>" in change and setup != SETUPS["expiring"]:
                continue  # slow, and the same for all kinds
            bench.prepare(setup)
            read_all(bench.reader)  # PFCOUNT's first changes the value it counts, and pushes
            before = read_all(bench.reader)
            bench.pushes()
            bench.change(change)
            after = read_all(bench.again)
            changed = [name for (name, _), old, new in zip(ALL_READS, before, after) if old != new]
            if not changed:
                continue
            shown.update(changed)
            pushes = bench.pushes()
            if not any(b"\r\n$1\r\nk\r\n" in push or push.endswith(b"_\r\n") for push in pushes):
                silent.append((setup, change, changed))
    assert silent == []
    assert shown == set(READS)  # or the reads here are too dull to tell


def test_a_second_read_of_pfcount_is_tracked(bench):
    """PFCOUNT writes its cached cardinality and pushes for it; read again it stays tracked."""
    bench.prepare("PFADD k a b c")
    bench.read("PFCOUNT k")
    bench.pushes()
    bench.read("PFCOUNT k")
    assert bench.pushes() == []
    bench.changer.run("PFADD", "k", "new")
    assert len(bench.pushes()) == 1
