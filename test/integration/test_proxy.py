"""What the store would answer, weir answers: the same bytes, the same errors, the same order.

Most tests speak to two redis-servers at once, one of them behind weir, and compare raw bytes. With
WEIR_DIRECT=1 both are plain, which proves the expectations.
"""
import random
import signal
import socket
import time

import pytest

from lib.resp import Client, Closed, Error, command_bytes, encode
from lib.rig import Worker, eventually, finish_all
from lib.servers import DIRECT, free_port, sanitized, wait_until


class Twins:
    """The store behind weir, and a plain one beside it."""

    def __init__(self, fleet, **options):
        self.store, self.twin = fleet.redis(), fleet.redis()
        self.weir = fleet.weir(self.store, **options)

    def pair(self, resp=2):
        return Pair(self.weir.client(resp=resp), self.twin.client(resp=resp))

    def flush(self):
        for server in (self.store, self.twin):
            with Client(server.address) as client:
                wait_until(lambda: client("PUBSUB", "CHANNELS") == []
                           and client("PUBSUB", "NUMPAT") == 0, "old subscribers to leave", deadline=5)
                client.pipeline([("FLUSHALL",), ("FUNCTION", "FLUSH"), ("SCRIPT", "FLUSH"),
                                 ("CONFIG", "RESETSTAT")])


class Pair:
    """A client of weir and a client of the twin that are told the same things."""

    def __init__(self, ours, theirs):
        self.ours, self.theirs = ours, theirs

    def send_raw(self, data):
        self.ours.send_raw(data)
        self.theirs.send_raw(data)

    def send(self, *args):
        self.send_raw(encode(*args))

    def read_same(self, what=""):
        theirs = self.theirs.read()
        ours = self.ours.read()
        assert ours.raw == theirs.raw, what
        return ours.value

    def __call__(self, *args):
        self.send(*args)
        return self.read_same(args)

    def same_until_closed(self):
        """All that both say until they close, which both must."""
        return everything(self.ours), everything(self.theirs)


def everything(client):
    frames = []
    try:
        while True:
            frames.append(client.read().raw)
    except Closed:
        return frames


@pytest.fixture(scope="module")
def servers(module_fleet):
    return Twins(module_fleet)


@pytest.fixture
def twins(servers):
    servers.flush()
    yield servers
    for server in (servers.store, servers.twin, servers.weir):
        server.close_clients()
    said = servers.weir.died()  # the next tests get a new one
    assert not said, said


@pytest.fixture(params=[2, 3], ids=["resp2", "resp3"])
def pair(twins, request):
    return twins.pair(request.param)


# ---- commands ------------------------------------------------------------------------------------

COMMANDS = {
    "strings": """
        SET k v|GET k|GET none|SET k w NX|SET k w XX GET|SET new v GET|SETNX k x|SETEX e 100 v
        GETRANGE k 0 0|GETRANGE none 0 9|SUBSTR k 0 0|SETRANGE k 2 zz|GET k|STRLEN k|STRLEN none
        APPEND k !|GET k|MSET a 1 b 2|MGET a none b|MSETNX a 9 c 9|MSETNX c 3 d 4|MGET c d
        INCR n|INCRBY n 41|DECR n|DECRBY n 11|INCRBYFLOAT n 0.5|GET n|INCR k|GETSET a 5|GETDEL a
        GETEX b PERSIST|GETEX b|LCS k b|LCS k k IDX|LCS k k LEN|SETBIT bits 7 1|GETBIT bits 7
        BITCOUNT bits|BITCOUNT bits 0 0 BYTE|BITPOS bits 1|BITOP NOT inv bits|BITFIELD bits GET u8 0
        BITFIELD_RO bits GET u4 0|PFADD hll a b c|PFCOUNT hll|PFCOUNT hll none|PFMERGE to hll
        PFCOUNT to|GET hash-to-be|SET k v PX 0|SET k v EX x|SET k|GET k extra|SET "" empty|GET ""
    """,
    "keys": """
        SET k v|SET l w|EXISTS k l none k|EXISTS k|TYPE k|TYPE none|DEL none|DEL k none|UNLINK l
        SET k v|TTL k|PTTL k|TTL none|PEXPIRETIME k|EXPIRETIME none|EXPIREAT k 99999999999
        EXPIRETIME k|PEXPIRETIME k|PERSIST k|PERSIST k|TTL k|EXPIRE none 1|RENAME k m|RENAME none m
        RENAMENX m n|COPY n o|COPY n o|COPY n o REPLACE|TOUCH n o none|OBJECT ENCODING n
        OBJECT REFCOUNT none|DBSIZE|KEYS none*|DUMP none|DUMP n|SORT none
        EXPIRE n 100 XX|EXPIRE n 100 NX|EXPIRE n 50 GT|EXPIRE n 50 BAD|MOVE n 0|MOVE o 1
        SCAN 0 MATCH none COUNT 1000|SCAN x|WAIT 0 0|OBJECT HELP|SELECT 1|GET o|SELECT 0
    """,
    "hashes": """
        HSET h a 1 b 2|HSET h a 1 c|HGET h a|HGET h none|HGET none a|HGETALL h|HGETALL none
        HMGET h a none b|HMGET none a|HKEYS h|HVALS h|HLEN h|HEXISTS h a|HSTRLEN h a|HINCRBY h a 5
        HINCRBYFLOAT h a 0.5|HSETNX h a 9|HSETNX h z 9|HMSET h y 1|HDEL h y z none|HGETALL h
        HSCAN h 0|HSCAN none 0|HRANDFIELD none|HRANDFIELD none 2|HRANDFIELD none 2 WITHVALUES
        HRANDFIELD one|HSET one f v|HRANDFIELD one|HRANDFIELD one 3 WITHVALUES|GET h|HGET h|HLEN none
    """,
    "lists": """
        RPUSH l a b c|LPUSH l z|LPUSHX none x|RPUSHX l d|LRANGE l 0 -1|LRANGE none 0 -1|LRANGE l 5 9
        LLEN l|LLEN none|LINDEX l 0|LINDEX l 99|LSET l 0 y|LSET l 99 y|LSET none 0 y|LINSERT l BEFORE a x
        LINSERT l AFTER none x|LREM l 1 x|LPOS l b|LPOS l none|LPOS l b COUNT 0|LPOP l|LPOP none
        LPOP none 2|RPOP l 2|LTRIM l 0 5|LMOVE l m LEFT RIGHT|RPOPLPUSH m l|RPOPLPUSH none l
        LMPOP 2 none l LEFT COUNT 2|LMPOP 1 none LEFT|RPUSH l 3 1 2|SORT l|SORT l DESC|SORT_RO l
        SORT l STORE sorted|LRANGE sorted 0 -1|SORT l BY nosort GET #|BLPOP l 1|BRPOP l 1
        BLMOVE l m LEFT LEFT 1|BLMPOP 1 1 m LEFT|GET l|LPUSH l|LRANGE l a b
    """,
    "sets": """
        SADD s 1 2 3|SADD s 3|SMEMBERS s|SMEMBERS none|SCARD s|SISMEMBER s 1|SISMEMBER none 1
        SMISMEMBER s 1 9|SMISMEMBER none 1 9|SREM s 3 9|SADD t 2 4|SINTER s t|SUNION s t|SDIFF s t
        SINTER s none|SINTERCARD 2 s t|SINTERSTORE d s t|SUNIONSTORE d s t|SDIFFSTORE d s t|SMEMBERS d
        SMOVE s t 1|SMOVE s t 9|SPOP none|SPOP none 2|SRANDMEMBER none|SRANDMEMBER none 2|SSCAN t 0
        SADD one x|SRANDMEMBER one|SRANDMEMBER one -2|SPOP one|GET t|SADD t
    """,
    "sorted sets": """
        ZADD z 1 a 2.5 b inf c|ZADD z XX CH 1.5 a|ZADD z INCR 1 a|ZADD z NX INCR 1 a|ZADD z x a
        ZSCORE z a|ZSCORE z none|ZSCORE none a|ZMSCORE z a none|ZMSCORE none a|ZRANGE z 0 -1
        ZRANGE z 0 -1 WITHSCORES|ZRANGE z 1 3 BYSCORE|ZRANGE z -inf +inf BYSCORE LIMIT 0 1
        ZRANGE none 0 -1 WITHSCORES|ZREVRANGE z 0 -1 WITHSCORES|ZRANGEBYSCORE z 1 3 WITHSCORES
        ZREVRANGEBYSCORE z 3 1|ZRANGEBYLEX z - +|ZREVRANGEBYLEX z + -|ZLEXCOUNT z - +|ZCARD z
        ZCOUNT z 1 3|ZRANK z b|ZRANK z none|ZREVRANK z b|ZINCRBY z 1 b|ZREM z c none|ZADD y 1 a 9 d
        ZUNION 2 z y|ZUNION 2 z y WITHSCORES|ZINTER 2 z y WITHSCORES|ZDIFF 2 z y WITHSCORES
        ZUNIONSTORE u 2 z y WEIGHTS 2 1 AGGREGATE MAX|ZINTERSTORE i 2 z y|ZDIFFSTORE d 2 z y
        ZINTERCARD 2 z y LIMIT 1|ZRANGESTORE r z 0 -1|ZRANGE u 0 -1 WITHSCORES|ZPOPMIN u|ZPOPMAX u 2
        ZPOPMIN none|ZPOPMIN none 2|ZMPOP 1 z MIN|ZMPOP 1 none MIN|BZPOPMIN z 1|BZMPOP 1 1 y MAX COUNT 5
        ZRANDMEMBER none|ZRANDMEMBER none 2 WITHSCORES|ZADD one 1 x|ZRANDMEMBER one
        ZRANDMEMBER one 2 WITHSCORES|ZSCAN one 0|ZREMRANGEBYRANK one 0 0|ZREMRANGEBYSCORE none 0 1
        GEOADD g 13.361389 38.115556 P 15.087269 37.502669 C|GEODIST g P C km|GEODIST g P none
        GEOHASH g P none|GEOPOS g P none|GEOPOS none P|GEOSEARCH g FROMMEMBER P BYRADIUS 200 km ASC
        GEOSEARCH g FROMLONLAT 15 37 BYBOX 400 400 km ASC WITHCOORD WITHDIST WITHHASH
        GEORADIUS g 15 37 200 km WITHDIST ASC|GEORADIUSBYMEMBER_RO g P 200 km ASC|ZADD z 1
    """,
    "streams": """
        XADD x 1-1 f v|XADD x 1-1 f v|XADD x 1-2 f v g w|XADD x NOMKSTREAM 1-3 f v|XADD x 1-4 f
        XLEN x|XLEN none|XRANGE x - +|XRANGE x - + COUNT 1|XREVRANGE x + -|XRANGE none - +
        XREAD COUNT 1 STREAMS x 0|XREAD STREAMS x $|XREAD STREAMS none 0|XREAD BLOCK 1 STREAMS none 0
        XGROUP CREATE x gr 0|XGROUP CREATE x gr 0|XREADGROUP GROUP gr me COUNT 1 STREAMS x >
        XREADGROUP GROUP gr me STREAMS x 0|XPENDING x gr|XACK x gr 1-1|XACK x gr 9-9|XPENDING x gr
        XREADGROUP GROUP none me STREAMS x >|XCLAIM x gr you 0 1-2|XAUTOCLAIM x gr you 0 0
        XINFO STREAM none|XGROUP CREATECONSUMER x gr third|XGROUP DELCONSUMER x gr third
        XDEL x 1-1|XTRIM x MAXLEN 1|XSETID x 5-5|XGROUP DESTROY x gr|XADD y * f|XINFO GROUPS x
    """,
    "scripts": """
        EVAL "return 1" 0|EVAL "return {1,'a',{2}}" 0|EVAL "return redis.call('SET',KEYS[1],ARGV[1])" 1 k v
        EVAL "return redis.error_reply('ERR no')" 0|EVAL "return {double=3.5}" 0|EVAL "return false" 0
        EVAL "return redis.call('GET','none')" 0|EVAL "bad lua" 0|EVALSHA ffff 0|EVAL "return 1" 5
        SCRIPT LOAD "return 7"|EVALSHA 006aaf54db09c5f25f1fd7fd10f3a6bdaa1a1a9a 0
        SCRIPT EXISTS ffff|EVAL_RO "return redis.call('SET','k','v')" 0|SCRIPT NOSUCH
        EVAL "redis.setresp(3); return redis.call('HGETALL',KEYS[1])" 1 none|SCRIPT FLUSH
        FUNCTION LOAD "#!lua name=l\\nredis.register_function('f', function(k,a) return a[1] end)"
        FCALL f 0 hello|FCALL none 0|FUNCTION DELETE l|FUNCTION LIST|EVAL "return redis.sha1hex('')" 0
    """,
    "server": """
        ECHO hello|ECHO|PING|PING hello|PING a b|TIME x|COMMAND COUNT|COMMAND INFO get nosuch
        COMMAND GETKEYS MSET a 1 b 2|CONFIG GET maxmemory|CONFIG SET nosuch 1|CONFIG GET nosuch
        DEBUG SLEEP 0|OBJECT FREQ none|MEMORY USAGE none|SLOWLOG LEN|SLOWLOG GET 0|LATENCY RESET
        SELECT 16|SELECT x|SELECT -1|DBSIZE|SWAPDB 0 99|LOLWUT VERSION 9|ACL WHOAMI|ACL CAT nosuch
        NOSUCH|NOSUCH a b c|nosuch "a b"|CONFIG|CONFIG NOSUCH x|GET|MGET|XGROUP|OBJECT|COMMAND NOSUCH
        CLUSTER INFO|READONLY|ASKING|FAILOVER x|REPLICAOF|PUBLISH c m|PUBSUB CHANNELS|PUBSUB NUMSUB c
        PUBSUB NUMPAT|UNWATCH|EXEC|DISCARD|RESTORE k 0 garbage|MIGRATE a b|BGREWRITEAOF x|SAVE x
    """,
}


def words(line):
    """A command line with "quoted words"."""
    parts, rest = [], line.strip()
    while rest:
        if rest[0] == '"':
            word, _, rest = rest[1:].partition('"')
            parts.append(word.replace("\\n", "\n"))
        else:
            word, _, rest = rest.partition(" ")
            parts.append(word)
        rest = rest.lstrip()
    return parts


def commands_of(group):
    return [words(line) for text in COMMANDS[group].strip().splitlines()
            for line in text.split("|") if line.strip()]


@pytest.mark.parametrize("group", COMMANDS)
def test_commands_one_by_one(pair, group):
    for command in commands_of(group):
        pair(*command)


@pytest.mark.parametrize("group", COMMANDS)
def test_commands_in_one_pipeline(pair, group):
    commands = commands_of(group)
    pair.send_raw(command_bytes(commands))
    for command in commands:
        pair.read_same(command)


@pytest.mark.parametrize("group", ["strings", "keys", "hashes", "lists", "sets", "sorted sets",
                                   "streams"])
@pytest.mark.parametrize("first", [2, 3])
def test_hits_have_the_same_bytes(twins, group, first):
    # After the whole group, what can be read is read again and again, by RESP2 and RESP3 in turn:
    # misses, joined fills and hits must not differ, whichever protocol filled the entry.
    a, b = twins.pair(first), twins.pair(5 - first)
    commands = commands_of(group)
    for command in commands:
        a(*command)
    a("SET", "string", "v" * 100)
    with Client(twins.twin.address) as client:
        info = client("COMMAND", "INFO", *{command[0] for command in commands})
    reading = {entry[0].decode().upper() for entry in info if "readonly" in entry[2]}
    reads = [command for command in commands if command[0] in reading]
    for pair in (a, b, a, b):
        for command in reads:
            pair(*command)
    for pair in (a, b):
        pair.send_raw(command_bytes(reads * 2))
        for command in reads * 2:
            pair.read_same(command)


# ---- framing ---------------------------------------------------------------------------------------

def test_inline_commands(pair):
    pair.send_raw(b'SET k "a \\x41\\n\\"q\\""\r\nGET k\nget   k  \r\n\r\n\nPING\r\n'
                  b"SET 'single' 'it\\'s'\r\nGET single\r\n*1\r\n$4\r\nPING\r\nECHO \"\"\r\n")
    for n in range(8):
        pair.read_same(n)


BROKEN = [b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n:5\r\n", b"*1\r\n$-1\r\n", b"*1\r\n$a\r\n", b"*abc\r\n",
          b"*2147483648\r\n", b"*1\r\n$600000000\r\n", b'SET k "unbalanced\r\n', b"GET 'a'b\r\n",
          b"*1\r\n+PING\r\n", b"*1\r\n$4294967296\r\n", b"x" * 70000, b"*" + b"1" * 70000,
          b"*1\r\n$" + b"1" * 70000, b"PING\r\n*1\r\n!4\r\n", b"*-9999999999999999999999\r\n"]


@pytest.mark.parametrize("data", BROKEN, ids=lambda data: repr(data[:24]))
def test_broken_requests_end_as_in_redis(twins, data):
    pair = twins.pair()
    pair.send_raw(b"*1\r\n$4\r\nPING\r\n")
    pair.read_same()
    for client in (pair.ours, pair.theirs):
        try:
            client.send_raw(data)
        except OSError:
            pass  # it closed while we were still talking
    ours, theirs = pair.same_until_closed()
    assert ours == theirs


@pytest.mark.parametrize("data", [b"*0\r\nPING\r\n", b"*-1\r\nPING\r\n", b"\r\n\r\nPING\r\n",
                                  b"*-10\r\nPING\r\n", b"PING\nPING\n",
                                  b"*1\r\n$4\r\nPINGxx*1\r\n$4\r\nPING\r\n"])
def test_odd_requests_are_taken_as_redis_takes_them(twins, data):
    pair = twins.pair()
    pair.send_raw(data)
    pair.read_same(data)


def test_requests_cut_anywhere(twins):
    pair = twins.pair()
    commands = [("SET", "k", "value"), ("GET", "k"), ("PING",), ("ECHO", "x" * 50), ("GET", "k")]
    data = command_bytes(commands) + b"PING\r\nGET k\r\n"
    for cut in range(1, len(data)):
        pair.send_raw(data[:cut])
        if cut % 16 == 0:
            time.sleep(0.001)
        pair.send_raw(data[cut:])
        for n in range(7):
            pair.read_same((cut, n))
    for byte in data:
        pair.send_raw(bytes([byte]))
    for n in range(7):
        pair.read_same(n)


# ---- order -------------------------------------------------------------------------------------------

def random_commands(rng, count):
    """Everything that stands on different paths: hits, misses, writes, local, private, large."""
    keys = [f"k{n}" for n in range(8)]
    choices = [
        lambda: ("GET", rng.choice(keys)), lambda: ("GET", rng.choice(keys)),
        lambda: ("MGET", *rng.sample(keys, 3)), lambda: ("EXISTS", rng.choice(keys)),
        lambda: ("STRLEN", rng.choice(keys)), lambda: ("TTL", rng.choice(keys)),
        lambda: ("SET", rng.choice(keys), rng.randrange(1000)),
        lambda: ("SET", rng.choice(keys), "x" * rng.choice([10, 1000, 20_000])),
        lambda: ("APPEND", rng.choice(keys), "y"), lambda: ("DEL", rng.choice(keys)),
        lambda: ("PING",), lambda: ("ECHO", rng.randrange(1000)),
        lambda: ("EVAL", "return redis.call('GET', KEYS[1])", 1, rng.choice(keys)),
        lambda: ("EVAL", "return redis.call('SET', 'k1', ARGV[1])", 0, rng.randrange(1000)),
        lambda: ("SELECT", rng.choice([0, 0, 1])), lambda: ("NOSUCH", "a"), lambda: ("GET",),
        lambda: ("LPUSH", rng.choice(keys), "wrong type or not"), lambda: ("DBSIZE",),
        lambda: ("MSET", rng.choice(keys), "m", rng.choice(keys), "n"),
    ]
    for _ in range(count):
        yield rng.choice(choices)()
        if rng.random() < 0.02:
            yield from [("MULTI",), ("INCR", "counter"), ("GET", rng.choice(keys)), ("EXEC",)]
        if rng.random() < 0.01:
            yield from [("WATCH", "k0"), ("GET", "k0"), ("MULTI",), ("SET", "k0", "w"), ("EXEC",)]


@pytest.mark.parametrize("seed", range(6))
def test_pipelines_of_everything(twins, seed):
    rng = random.Random(seed)
    pair = twins.pair(2 + seed % 2)
    for _ in range(10):
        commands = list(random_commands(rng, rng.choice([5, 50, 300])))
        sender = Worker(pair.send_raw, command_bytes(commands))
        for n, command in enumerate(commands):
            pair.read_same((seed, n, command))
        sender.finish()


def test_many_clients_pipeline_at_once(twins):
    def play(n):
        client = twins.weir.client(resp=2 + n % 2)
        for turn in range(5 if sanitized() else 20):
            commands = [command for i in range(100)
                        for command in (("SET", f"{n}:{i % 7}", f"{turn}.{i}"),
                                        ("GET", f"{n}:{i % 7}"), ("ECHO", i))]
            replies = client.pipeline(commands)
            wanted = [reply for i in range(100)
                      for reply in ("OK", b"%d.%d" % (turn, i), b"%d" % i)]
            assert replies == wanted

    finish_all([Worker(play, n) for n in range(8)])


# ---- sizes -------------------------------------------------------------------------------------------

@pytest.mark.parametrize("size", [1, 16_000, 65_536, 1_000_000, 1_048_577, 5_000_000, 20_000_000])
def test_large_values_both_ways(twins, size):
    client = twins.weir.client(resp=3)
    value = random.Random(size).randbytes(size)
    assert client("SET", "k", value) == "OK"
    for _ in range(3):
        assert client("GET", "k") == value
    sender = Worker(client.send_raw, command_bytes(
        [("SET", "small", 1), ("SET", "k2", value), ("GET", "k"), ("ECHO", "between"),
         ("GET", "k2"), ("STRLEN", "k"), ("GET", "small"), ("PING", "end")]))
    replies = [client.reply() for _ in range(8)]
    sender.finish()
    assert replies == ["OK", "OK", value, b"between", value, size, b"1", b"end"]
    twins.store.client()("FLUSHALL")


def test_write_behind_a_reply_too_large_to_keep(twins):
    # Neither can be repeated, so such a client may be told so; but it is never told something wrong.
    twins.store.client()("SET", "huge", "h" * 5_000_000)
    client, other = twins.weir.client(), twins.weir.client()
    sender = Worker(client.send_raw, command_bytes([("GET", "huge"), ("INCR", "n"), ("GET", "n")]))
    first, *others = [client.reply() for _ in range(3)]
    assert first == b"h" * 5_000_000 or "client-buffer" in first
    assert others == [1, b"1"]
    sender.finish()
    assert other("GET", "n") in (b"1", None)
    assert other("PING") == "PONG"


def test_large_arrays(pair):
    count = 20_000
    pair("RPUSH", "list", *(f"element {n}" for n in range(count)))
    pair("MSET", *(word for n in range(count) for word in (f"k{n}", f"v{n}")))
    for _ in range(2):
        pair("LRANGE", "list", 0, -1)
        pair("MGET", *(f"k{n}" for n in range(count)))
    pair("DEL", *(f"k{n}" for n in range(count)))
    pair("DBSIZE")


def test_slow_reader_gets_everything(twins):
    value = "v" * 50_000
    other, slow = twins.weir.client(), twins.weir.client(receive_buffer=8192)
    other("SET", "big", value)
    count = 800  # more than may be outstanding
    sender = Worker(slow.send_raw, command_bytes([("GET", "big"), ("ECHO", "x")] * count))
    time.sleep(0.5)
    for n in range(50):  # nobody else waits for it
        assert other("SET", "k", n) == "OK"
        assert other("GET", "k") == b"%d" % n
    for _ in range(count):
        assert slow.reply() == value.encode()
        assert slow.reply() == b"x"
    sender.finish()


def test_half_closed_client_gets_its_replies(twins):
    for _ in range(20):
        client = twins.weir.client()
        client.send_raw(command_bytes([("SET", "k", "v"), ("GET", "k"), ("PING",)]))
        client.sock.shutdown(socket.SHUT_WR)
        assert [client.reply() for _ in range(3)] == ["OK", b"v", "PONG"]
        assert client.at_end()


def test_client_that_vanishes_harms_nobody(twins):
    stay = twins.weir.client()
    for n in range(50):
        gone = twins.weir.client()
        gone.send_raw(command_bytes([("SET", "k", n), ("GET", "k"), ("EVAL", "return 1", 0),
                                     ("GET", "k")] * 20)[:-n])
        if n % 2:
            gone.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        gone.close()
        assert stay("PING") == "PONG"
        assert stay("SET", "mine", n) == "OK"
        assert stay("GET", "mine") == b"%d" % n


# ---- transactions --------------------------------------------------------------------------------------

TRANSACTIONS = [
    "MULTI|SET k v|GET k|EXEC", "MULTI|EXEC", "MULTI|DISCARD", "EXEC", "DISCARD",
    "MULTI|MULTI|SET k v|EXEC", "MULTI|WATCH k|EXEC", "MULTI|NOSUCH|SET k v|EXEC",
    "MULTI|GET|EXEC", "MULTI|SET k v|LPUSH k x|GET k|EXEC", "WATCH k|MULTI|SET k v|EXEC",
    "WATCH k|SET k x|MULTI|GET k|EXEC|GET k", "WATCH k|UNWATCH|SET k x|MULTI|GET k|EXEC",
    "WATCH|UNWATCH x", "WATCH k|MULTI|DISCARD|SET k 2|MULTI|GET k|EXEC",
    "MULTI|HSET h f v|HGETALL h|ZADD z 1 m|ZRANGE z 0 -1 WITHSCORES|SMEMBERS none|EXEC",
    "MULTI|SELECT 1|SET k one|EXEC|GET k|SELECT 0|GET k", "SELECT 1|MULTI|SET k one|EXEC|SELECT 0|GET k",
    "MULTI|BLPOP l 0|EXEC", "MULTI|EVAL \"return redis.call('SET','k','s')\" 0|EXEC|GET k",
    "MULTI|PING|ECHO x|DBSIZE|EXEC", "MULTI|FLUSHALL|EXEC|GET k", "MULTI|EXEC x",
    "MULTI|CLIENT GETNAME|EXEC", "MULTI|SET k 1 BAD|EXEC",
    "MULTI|SELECT 1|NOSUCH|EXEC|SET k x|SELECT 0|GET k",
    "WATCH k|SET k 1|MULTI|SELECT 1|EXEC|SET l y|SELECT 0|GET l", "MULTI|SELECT 99|EXEC|SET k x|SELECT 0",
    "MULTI|SELECT 1|MULTI|SET k x|EXEC|SET k y|SELECT 0|GET k",
    "MULTI|SELECT 1|DISCARD|SET k x|SELECT 0|GET k", "SELECT 2|MULTI|SELECT 0|SELECT 3|EXEC|SET k x",
    "MULTI|AUTH x|EXEC", "MULTI|PUBLISH c m|EXEC", "MULTI|WAIT 0 0|EXEC", "MULTI|MONITOR|DISCARD",
]


@pytest.mark.parametrize("pipelined", [False, True], ids=["stepwise", "pipelined"])
@pytest.mark.parametrize("text", TRANSACTIONS)
def test_transactions(pair, text, pipelined):
    commands = [words(line) for line in text.split("|")]
    commands += [["GET", "k"], ["PING"]]
    if pipelined:
        pair.send_raw(command_bytes(commands))
    for command in commands:
        if not pipelined:
            pair.send(*command)
        pair.read_same(command)


def test_large_requests_in_a_transaction(twins):
    # Catches: a large request that waits for the end of the transaction in which it stands.
    client, value = twins.weir.client(), b"v" * 300_000
    for _ in range(2):
        commands = [("MULTI",), ("SET", "k", value), ("GET", "k"), ("STRLEN", "k"), ("EXEC",)]
        assert client.pipeline(commands)[-1] == ["OK", value, len(value)]
        assert [client(*command) for command in commands][-1] == ["OK", value, len(value)]
        assert client("GET", "k") == value


def test_clients_that_leave_in_a_transaction_leave_nothing(twins):
    # Catches: keeping the private connection of a client that is gone; there are 64 of them.
    for n in range(100):
        client = twins.weir.client()
        client.pipeline([("WATCH", "k"), ("MULTI",), ("SET", "k", n)][:1 + n % 3])
        client.close()
    client = twins.weir.client()
    eventually(lambda: client.pipeline([("MULTI",), ("SET", "k", "v"), ("EXEC",)])[2], ["OK"])


def test_watch_sees_writes_of_others(twins):
    a, b, direct = twins.weir.client(), twins.weir.client(), twins.store.client()
    for writer in (b, direct):
        a.pipeline([("SET", "k", 1), ("WATCH", "k")])
        writer("SET", "k", 2)
        assert a.pipeline([("MULTI",), ("SET", "k", 3), ("EXEC",)])[2] is None
        assert a("GET", "k") == b"2"
        a("WATCH", "k")
        assert a.pipeline([("MULTI",), ("SET", "k", 3), ("EXEC",)])[2] == ["OK"]


def test_transactions_are_atomic(twins):
    writer, readers, stop = twins.weir.client(), [twins.weir.client() for _ in range(3)], []

    def write():
        n = 0
        while not stop:
            n += 1
            assert writer.pipeline([("MULTI",), ("SET", "x", n), ("SET", "y", n), ("EXEC",)])[3]

    def read(client):
        for _ in range(200):
            x, y = client.pipeline([("MULTI",), ("MGET", "x", "y"), ("EXEC",)])[2][0]
            assert x == y

    writing = Worker(write)
    try:
        finish_all([Worker(read, client) for client in readers])
    finally:
        stop.append(True)
    writing.finish()


# ---- blocking ------------------------------------------------------------------------------------------

def blocked(store):
    with Client(store.address) as client:
        text = client("INFO", "clients").decode()
    return int(text.split("blocked_clients:")[1].split()[0])


@pytest.mark.parametrize("command, feed", [
    (("BLPOP", "l", 30), ("RPUSH", "l", "a")), (("BRPOP", "other", "l", 30), ("RPUSH", "l", "a")),
    (("BLMOVE", "l", "m", "LEFT", "LEFT", 30), ("RPUSH", "l", "a")),
    (("BRPOPLPUSH", "l", "m", 30), ("RPUSH", "l", "a")),
    (("BLMPOP", 30, 1, "l", "LEFT"), ("RPUSH", "l", "a")),
    (("BZPOPMIN", "z", 30), ("ZADD", "z", 1.5, "m")), (("BZMPOP", 30, 1, "z", "MAX"), ("ZADD", "z", 1, "m")),
    (("XREAD", "BLOCK", 30000, "STREAMS", "x", "$"), ("XADD", "x", "1-1", "f", "v")),
])
def test_blocking_commands(twins, pair, command, feed):
    pair.send(*command)
    pair.send("ECHO", "behind")
    wait_until(lambda: blocked(twins.store) and blocked(twins.twin), "both to block")
    assert not pair.ours.readable(0.05)
    feeder = twins.pair()
    feeder(*feed)
    pair.read_same(command)
    assert pair.read_same() == b"behind"


@pytest.mark.parametrize("command", [
    "BLPOP l 0.05", "BLMOVE l m LEFT LEFT 0.05", "BLMPOP 0.05 1 l LEFT", "BZPOPMIN z 0.05",
    "XREAD BLOCK 20 STREAMS x $", "BLPOP l x", "BLPOP l -1", "BLPOP l"])
def test_blocking_commands_time_out(pair, command):
    pair(*command.split())
    pair("PING")


def test_blocked_client_that_goes_takes_nothing(twins):
    gone, stay = twins.weir.client(), twins.weir.client()
    gone.send("BLPOP", "l", 0)
    wait_until(lambda: blocked(twins.store) == 1, "it to block")
    gone.close()
    wait_until(lambda: blocked(twins.store) == 0, "it to be forgotten")
    assert stay("RPUSH", "l", "a") == 1
    assert stay("LLEN", "l") == 1


def test_blocked_clients_leave_room_for_transactions(twins):
    waiting = [twins.weir.client() for _ in range(30)]
    for client in waiting:
        client.send("BLPOP", "l", 0)
    wait_until(lambda: blocked(twins.store) == 30, "all to block")
    client = twins.weir.client()
    for n in range(30):
        assert client.pipeline([("MULTI",), ("LPUSH", "l", n), ("EXEC",)])[2] == [1]
    got = sorted(int(waiter.reply()[1]) for waiter in waiting)
    assert got == list(range(30))


# ---- publish and subscribe -------------------------------------------------------------------------------

def test_subscribe(twins, pair):
    publisher = twins.pair()
    pair.send_raw(command_bytes([("SUBSCRIBE", "a", "b"), ("PSUBSCRIBE", "p*"), ("SSUBSCRIBE", "s")]))
    for n in range(4):
        pair.read_same(n)
    for command in (("PUBLISH", "a", "1"), ("PUBLISH", "pq", "2"), ("SPUBLISH", "s", "3"),
                    ("PUBLISH", "nobody", "4"), ("PUBLISH", "b", "")):
        publisher(*command)
    for n in range(4):
        pair.read_same(n)
    for command in (("PING",), ("PING", "x"), ("UNSUBSCRIBE", "a")):
        pair(*command)
    pair.send("UNSUBSCRIBE")
    pair.read_same()
    pair("PUNSUBSCRIBE", "none")
    pair("PUNSUBSCRIBE", "p*")
    pair("SUNSUBSCRIBE", "s")
    assert pair("PING") in ("PONG", [b"pong", b""])
    pair("SET", "k", "v")
    pair("GET", "k")


@pytest.mark.parametrize("command", ["GET k", "SET k v", "MULTI", "SELECT 1", "NOSUCH",
                                     "CLIENT ID x", "EVAL \"return 1\" 0", "BLPOP l 0.01", "SUBSCRIBE"])
def test_commands_while_subscribed(pair, command):
    pair("SUBSCRIBE", "c")
    pair(*words(command))
    if command == "MULTI":
        pair("DISCARD")
    pair("UNSUBSCRIBE", "c")
    pair("PING")


def test_messages_come_in_order(twins):
    subscribers = [twins.weir.client(resp=2 + n % 2) for n in range(6)]
    for client in subscribers:
        client.send("SUBSCRIBE", "c")
        client.read()
    publisher = twins.weir.client()
    assert publisher.pipeline([("PUBLISH", "c", n) for n in range(500)]) == [6] * 500
    for client in subscribers:
        assert [int(client.read().value[2]) for _ in range(500)] == list(range(500))


def test_subscriber_that_leaves_is_unsubscribed(twins):
    client = twins.weir.client()
    client.send("SUBSCRIBE", "c")
    client.read()
    client.close()
    direct = twins.store.client()
    eventually(lambda: direct("PUBSUB", "NUMSUB", "c"), [b"c", 0])


def test_resp3_client_reads_while_subscribed(twins):
    client, other = twins.weir.client(resp=3), twins.weir.client()
    client.send("SUBSCRIBE", "c")
    client.read()
    for n in range(100):
        other.pipeline([("SET", "k", n), ("PUBLISH", "c", n)])
        assert client("GET", "k") == b"%d" % n
    wait_until(lambda: len(client.pushes) == 100 or client("PING") is None, "all messages")
    assert [int(push[2]) for push in client.pushes] == list(range(100))


# ---- connection --------------------------------------------------------------------------------------------

@pytest.mark.parametrize("text", [
    "HELLO 4", "HELLO x", "HELLO 3 AUTH default x", "HELLO 3 SETNAME", "HELLO 2 BAD", "AUTH x",
    "AUTH default x", "AUTH nobody x", "AUTH a b c", "AUTH", "SELECT", "SELECT 0 1",
    "CLIENT SETNAME me|CLIENT GETNAME", "CLIENT SETNAME \"a b\"", "CLIENT GETNAME", "CLIENT NOSUCH",
    "CLIENT", "CLIENT SETNAME", "CLIENT REPLY ON", "CLIENT REPLY BAD",
    "CLIENT NO-EVICT on", "RESET|GET k|PING", "SELECT 3|RESET|SET k v|SELECT 3|GET k",
    "HELLO 3|HGETALL none|HELLO 2|HGETALL none|RESET", "QUIT",
    "CLIENT REPLY SKIP|CLIENT GETNAME|PING x", "CLIENT REPLY SKIP|CLIENT LIST|PING x",
    "CLIENT REPLY SKIP|HELLO 3|PING x", "CLIENT REPLY SKIP|EVAL \"return {1,2}\" 0|PING x",
    "SET k v|GET k|GET k|CLIENT REPLY SKIP|GET k|PING x", "CLIENT REPLY SKIP|NOSUCH|PING x",
    "CLIENT REPLY OFF|GET k|EVAL \"return {1,2}\" 0|CLIENT ID|CLIENT REPLY ON|PING x",
    "CLIENT REPLY SKIP|MULTI|SET k v|EXEC|PING x", "CLIENT REPLY SKIP|CLIENT REPLY OFF|CLIENT REPLY ON",
    "CLIENT ID x", "CLIENT GETNAME x", "CLIENT INFO x", "CLIENT SETNAME a b", "CLIENT NO-EVICT maybe",
    "CLIENT KILL", "CLIENT KILL ID x", "CLIENT LIST TYPE nosuch", "CLIENT GETREDIR",
    "CLIENT REPLY SKIP|PING|PING x", "CLIENT REPLY OFF|PING|CLIENT REPLY ON|PING x",
])
def test_connection_commands(twins, text):
    pair = twins.pair()
    pair.send_raw(command_bytes([words(line) for line in [*text.split("|"), "ECHO end"]]))
    while True:
        theirs = try_read(pair.theirs)
        ours = try_read(pair.ours)
        if theirs and b"proto" in theirs:  # the map of HELLO names the server's own id
            assert ours and b"proto" in ours
            continue
        assert ours == theirs
        if theirs is None or theirs == b"$3\r\nend\r\n":
            return


def try_read(client):
    try:
        return client.read().raw
    except Closed:
        return None


def test_hello_map_has_redis_fields(twins):
    for resp in (2, 3):
        ours, theirs = twins.weir.client(), twins.twin.client()
        a, b = ours("HELLO", resp), theirs("HELLO", resp)
        a, b = (dict(zip(m[::2], m[1::2])) if resp == 2 else m.dict() for m in (a, b))
        assert list(a) == list(b)
        for field in (b"server", b"version", b"proto", b"mode", b"role", b"modules"):
            assert a[field] == b[field], field


def test_databases_are_separate(pair):
    for n in range(16):
        pair("SELECT", n)
        pair("SET", "k", f"db{n}")
    for n in reversed(range(16)):
        pair("SELECT", n)
        pair("GET", "k")
        pair("GET", "k")
        pair("DBSIZE")
    pair.send_raw(command_bytes([word for n in range(16) for word in (("SELECT", n), ("GET", "k"))]))
    for n in range(32):
        pair.read_same(n)


def test_monitor(twins):
    watcher, client = twins.weir.client(), twins.weir.client()
    assert watcher("MONITOR") == "OK"
    client("SET", "k", "monitored")
    while "monitored" not in (line := watcher.read().value):
        pass
    assert '"SET" "k" "monitored"' in line
    watcher.close()
    assert client("PING") == "PONG"


def test_requirepass(fleet):
    store = fleet.redis(requirepass="secret")
    weir = fleet.weir(f"redis://:secret@127.0.0.1:{store.port}" if not DIRECT else store,
                      requirepass="secret")
    twin = fleet.redis(requirepass="secret")
    pair = Pair(weir.client(), twin.client())
    for line in ("GET k", "PING", "NOSUCH", "SET k", "AUTH wrong", "AUTH default wrong",
                 "HELLO 3", "MULTI", "SUBSCRIBE c", "CLIENT GETNAME", "AUTH secret", "GET k", "PING",
                 "AUTH wrong", "GET k", "RESET", "GET k", "AUTH default secret", "SET k v"):
        pair(*line.split())
    hello = weir.client()
    assert not isinstance(hello("HELLO", 3, "AUTH", "default", "secret"), Error)
    assert hello("GET", "k") == b"v"


@pytest.mark.parametrize("data", [b"*11\r\n", b"*1\r\n$16385\r\n", b"*10\r\n$3\r\nGET\r\n$99999\r\n"])
def test_unauthenticated_bounds(fleet, data):
    store, twin = fleet.redis(requirepass="secret"), fleet.redis(requirepass="secret")
    weir = fleet.weir(f"redis://:secret@127.0.0.1:{store.port}" if not DIRECT else store,
                      requirepass="secret")
    pair = Pair(weir.client(), twin.client())
    pair.send_raw(data)
    ours, theirs = pair.same_until_closed()
    assert ours == theirs


@pytest.mark.weir_only
def test_acl_user_of_the_store(fleet):
    store = fleet.redis()
    direct = store.client()
    direct("ACL", "SETUSER", "app", "on", ">p:w/d@", "~app:*", "&*", "+@all", "-flushall")
    weir = fleet.weir(f"redis://app:p%3Aw%2Fd%40@127.0.0.1:{store.port}")
    client, app = weir.client(), store.client()
    assert app("AUTH", "app", "p:w/d@") == "OK"
    for command in (("SET", "app:k", "v"), ("GET", "app:k"), ("GET", "app:k"), ("GET", "other"),
                    ("FLUSHALL",), ("EVAL", "return redis.call('GET','other')", 0),
                    ("ACL", "WHOAMI")):
        assert client(*command) == app(*command)


@pytest.mark.weir_only
def test_wrong_password_of_the_store_is_an_error(fleet):
    store = fleet.redis(requirepass="secret")
    weir = fleet.weir(f"redis://:wrong@127.0.0.1:{store.port}")
    reply = weir.client()("SET", "k", "v")
    assert isinstance(reply, Error) and reply.startswith("ERR weir:")
    assert "WRONGPASS" in weir.log() or "WRONGPASS" in reply


def own_address():
    """An address of this machine that is not loopback, or None."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(("192.0.2.1", 9))
        except OSError:
            return None
        address = sock.getsockname()[0]
    return None if address.startswith("127.") else address


@pytest.mark.weir_only
@pytest.mark.skipif(own_address() is None, reason="only loopback here")
def test_protected_mode(fleet):
    store = fleet.redis()
    port = free_port()
    weir = fleet.weir(store, listen=[f"{own_address()}:{port}"])
    with Client((own_address(), port)) as far:
        assert far.read().value.startswith("DENIED")
        assert far.at_end()
    assert weir.client()("PING") == "PONG"
    weir.stop()
    fleet.servers.remove(weir)
    fleet.weir(store, listen=[f"{own_address()}:{port}"], protected_mode="no")
    with Client((own_address(), port)) as far:
        assert far("PING") == "PONG"


def test_maxclients(fleet):
    store = fleet.redis(**({"maxclients": 10} if DIRECT else {}))
    weir = fleet.weir(store, maxclients=10)
    clients = []
    while True:
        client = weir.client()
        try:
            reply = client("PING")
        except (Closed, OSError):
            break
        if reply != "PONG":
            assert reply == "ERR max number of clients reached"
            assert client.at_end()
            break
        clients.append(client)
    assert len(clients) in range(8, 11)  # a test's own probe may still be leaving
    clients.pop().close()
    eventually(lambda: try_ping(weir), "PONG")


def try_ping(server):
    with Client(server.address) as client:
        try:
            return client("PING")
        except (Closed, OSError):
            return None


def test_idle_timeout(fleet):
    store = fleet.redis(**({"timeout": 1} if DIRECT else {}))
    weir = fleet.weir(store, timeout=1)
    idle, subscribed, waiting = weir.client(), weir.client(), weir.client()
    idle("PING")
    subscribed("SUBSCRIBE", "c")
    waiting.send("BLPOP", "l", 0)
    assert idle.at_end()
    assert not subscribed.readable(1.5)
    weir.client().pipeline([("PUBLISH", "c", "m"), ("RPUSH", "l", "a")])
    assert subscribed.read().value == [b"message", b"c", b"m"]
    assert waiting.reply() == [b"l", b"a"]


@pytest.mark.weir_only
def test_unix_sockets(fleet, tmp_path):
    path, store_path = str(tmp_path / "w.sock"), str(tmp_path / "s.sock")
    store = fleet.redis(unixsocket=store_path)
    weir = fleet.weir(f"unix:{store_path}", listen=[f"unix:{path}"], unixsocketperm="0600")
    client, direct = Client(path), store.client()
    assert client("SET", "k", "v" * 100_000) == "OK"
    assert client("GET", "k") == b"v" * 100_000
    direct("SET", "k", "new")
    eventually(lambda: client("GET", "k"), b"new")
    assert (tmp_path / "w.sock").stat().st_mode & 0o777 == 0o600
    client.close()
    weir.stop()
    fleet.servers.remove(weir)
    assert not (tmp_path / "w.sock").exists()


# ---- the store comes and goes ----------------------------------------------------------------------------

def is_weir_error(reply, *ends):
    return isinstance(reply, Error) and reply.startswith("ERR weir: ") and reply.endswith(ends)


@pytest.mark.weir_only
def test_store_down_at_start(fleet):
    store = fleet.redis()
    store.stop()
    weir = fleet.weir(store)
    client = weir.client()
    reply = client("SET", "k", "v")
    assert is_weir_error(reply, "not applied"), reply
    assert f"127.0.0.1:{store.port}" in reply
    store.restart()
    eventually(lambda: client("SET", "k", "v"), "OK")
    assert client("GET", "k") == b"v"


@pytest.mark.weir_only
def test_store_lost_and_back(fleet):
    store = fleet.redis()
    weir = fleet.weir(store)
    client, subscriber, blocker, dealer = (weir.client() for _ in range(4))
    client("SET", "k", "v")
    subscriber("SUBSCRIBE", "c")
    blocker.send("BLPOP", "l", 0)
    dealer("MULTI")
    wait_until(lambda: blocked(store), "BLPOP to block")
    store.kill()
    reply = wait_until(lambda: (r := client("SET", "k", "w")) != "OK" and r, "an error")
    assert is_weir_error(reply, "not applied", "outcome unknown"), reply
    ended = blocker.reply() if not closed_now(blocker) else None
    assert ended is None or is_weir_error(ended, "outcome unknown"), ended
    store.restart()
    eventually(lambda: client("SET", "k", "x"), "OK")
    fresh = weir.client()
    assert fresh.pipeline([("MULTI",), ("GET", "k"), ("EXEC",)])[2] == [b"x"]
    assert fresh("GET", "k") == b"x"


def closed_now(client):
    """Has the peer closed without a word?"""
    return client.sock.recv(1, socket.MSG_PEEK) == b""


@pytest.mark.weir_only
def test_write_sent_and_lost_is_not_repeated(fleet):
    fake = fleet.fake()
    weir = fleet.weir(fake)
    client, other = weir.client(), weir.client()
    other("GET", "k")

    def apply_and_die(call):
        call.run()
        wait_until(call.conn.settled, "weir to read what came before")
        call.conn.reset()
        return b""

    fake.on("INCR", apply_and_die, nth=1)
    client.send_raw(command_bytes([("PING",), ("INCR", "n"), ("GET", "n")]))
    assert client.reply() == "PONG"
    reply = client.reply()
    assert reply == Error(f"ERR weir: 127.0.0.1:{fake.port} lost, outcome unknown")
    after = client.reply()
    assert after == b"1" or is_weir_error(after, "outcome unknown", "not applied")
    assert fake.seen("INCR") == 1
    assert client("GET", "n") == b"1"


@pytest.mark.weir_only
def test_private_write_sent_and_lost(fleet):
    fake = fleet.fake()
    weir = fleet.weir(fake)
    client = weir.client()

    def die(call):
        call.conn.reset()
        return b""

    fake.on("EVAL", die, nth=1)
    reply = client("EVAL", "x", 0)
    assert reply == Error(f"ERR weir: 127.0.0.1:{fake.port} lost, outcome unknown")
    fake.on("EVAL", lambda call: b":7\r\n")
    assert client("EVAL", "x", 0) == 7
    assert fake.seen("EVAL") == 2


@pytest.mark.weir_only
def test_reconnect_kills_the_old_connection(fleet):
    # An unread old write must not run after a newer one.
    fake = fleet.fake()
    weir = fleet.weir(fake)
    client = weir.client()
    client("SET", "k", "v")
    first = fake.lane().number
    fake.lane().close()
    eventually(lambda: client("GET", "k"), b"v")
    assert fake.seen("CLIENT", "KILL", "ID", str(first)) == 1


@pytest.mark.weir_only
def test_drain_answers_what_is_under_way(fleet):
    fake = fleet.fake({"k": "v"})
    weir = fleet.weir(fake)
    busy, idle = weir.client(), weir.client()
    busy("GET", "else")
    idle("PING")
    fake.lane().hold()
    busy.send_raw(command_bytes([("SET", "k", "w"), ("GET", "k")]))
    fake.wait_seen(1, "SET", "k", "w")
    weir.signal(signal.SIGTERM)
    assert idle.at_end()
    assert weir.process.poll() is None
    fake.lane().release()
    assert [busy.reply(), busy.reply()] == ["OK", b"w"]
    assert busy.at_end()
    assert weir.wait() == 0


@pytest.mark.weir_only
@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_second_signal_stops_now(fleet, second):
    fake = fleet.fake({"k": "v"})
    weir = fleet.weir(fake)
    busy, idle = weir.client(), weir.client()
    busy("GET", "else")
    idle("PING")
    fake.lane().hold()
    busy.send("SET", "k", "w")
    fake.wait_seen(1, "SET", "k", "w")
    weir.signal(signal.SIGTERM)
    assert idle.at_end()
    weir.signal(second)
    weir.wait()
    assert not weir.reports()


@pytest.mark.weir_only
def test_new_clients_are_refused_while_draining(fleet):
    fake = fleet.fake({"k": "v"})
    weir = fleet.weir(fake)
    busy, idle = weir.client(), weir.client()
    busy("GET", "else")
    idle("PING")
    fake.lane().hold()
    busy.send("SET", "k", "w")
    fake.wait_seen(1, "SET", "k", "w")
    weir.signal(signal.SIGTERM)
    assert idle.at_end()

    def refused():
        try:
            with Client(weir.address) as client:
                return client("PING") != "PONG"
        except (Closed, OSError):
            return True

    wait_until(refused, "new clients to be refused")
    fake.lane().release()
    assert busy.reply() == "OK"


def test_pause_of_the_store_holds_writes(twins):
    direct, client, other = twins.store.client(), twins.weir.client(), twins.weir.client()
    client("SET", "k", "v")
    direct("CLIENT", "PAUSE", 10_000, "WRITE")
    client.send("SET", "k", "w")
    assert not client.readable(0.2)
    other.send("GET", "k")  # may have to wait too
    direct("CLIENT", "UNPAUSE")
    assert client.reply() == "OK"
    assert other.reply() in (b"v", b"w")
    assert other("GET", "k") == b"w"


def test_busy_store_delays_and_loses_nothing(twins):
    direct, clients = twins.store.client(), [twins.weir.client() for _ in range(4)]
    direct.send("DEBUG", "SLEEP", "0.7")
    for n, client in enumerate(clients):
        client.send_raw(command_bytes([("SET", f"k{n}", n), ("GET", f"k{n}"), ("INCR", "n")]))
    counts = []
    for n, client in enumerate(clients):
        assert [client.reply(), client.reply()] == ["OK", b"%d" % n]
        counts.append(client.reply())
    assert sorted(counts) == [1, 2, 3, 4]
    assert direct.reply() == "OK"


def test_script_that_runs_long_can_be_killed(twins):
    direct, runner, killer = twins.store.client(), twins.weir.client(), twins.weir.client()
    direct("CONFIG", "SET", "busy-reply-threshold", 100)
    runner.send("EVAL", "while true do end", 0)
    eventually(lambda: killer("SCRIPT", "KILL"), "OK")
    assert isinstance(runner.reply(), Error)
    assert killer("SET", "k", "v") == "OK"
