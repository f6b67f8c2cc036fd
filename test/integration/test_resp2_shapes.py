"""A RESP3 reply, converted by the table's shape, is what the server gives a RESP2 client.

Each case runs on two connections, one of each protocol, over the same data, made anew before each
command; the answers are compared byte for byte. A command of the table that is not tried here must
be named in UNTRIED with the reason.
"""
import re

import pytest

from wire_library import SHAPES, Connection, Server, Wire

PLAIN, OTHER = SHAPES["RESP2_PLAIN"], SHAPES["RESP2_OTHER"]

DATA = """
SET str hello
SET num 10
SET bits abcdef
RPUSH list a b c a
HSET hash f1 v1 f2 v2
HSET one f v
SADD set a b c
SADD set2 b c d
SADD single a
ZADD zset 1 a 2.5 b 3e20 c -inf low +inf high
ZADD zset2 1 a 2 b
ZADD zone 1.5 only
GEOADD geo 13.361389 38.115556 Palermo 15.087269 37.502669 Catania
PFADD hll a b c
PFADD hll2 c d
XADD stream 1-1 f v g w
XADD stream 2-1 f v
XGROUP CREATE stream group 0
XGROUP CREATE stream empty $
XREADGROUP GROUP group consumer COUNT 1 STREAMS stream >
SET dumped value
SET expiring x PXAT 4000000000000
SET lcs1 ohmytext
SET lcs2 mynewtext
"""

# Commands, one a line. `;` joins commands of which only the last is compared.
CASES = r"""
APPEND str x
BITCOUNT bits
BITCOUNT bits 0 -1 BIT
BITCOUNT missing
BITFIELD num GET u8 0 OVERFLOW FAIL INCRBY u2 0 5
BITFIELD_RO num GET u8 0
BITOP AND dest bits str
BITPOS bits 1
COPY str str2
DECR num
DECRBY num 2
DEL str missing
DUMP missing
DUMP str
EXISTS str str missing
EXPIRE str 100
EXPIREAT str 4000000000
EXPIRETIME str
EXPIRETIME expiring
GET str
GET missing
GET list
GETBIT bits 1
GETDEL str
GETDEL missing
GETEX str
GETEX missing EX 10
GETRANGE str 0 2
GETSET str v
GETSET missing v
INCR num
INCR str
INCRBY num 2
INCRBYFLOAT num 1.5
LCS lcs1 lcs2
LCS lcs1 lcs2 LEN
LCS lcs1 lcs2 IDX
LCS lcs1 lcs2 IDX WITHMATCHLEN
MGET str missing list
MOVE str 1
MSET a 1 b 2
MSETNX str 1 b 2
PERSIST expiring
PEXPIRE str 100000
PEXPIREAT str 4000000000000
PEXPIRETIME expiring
PTTL str
PTTL missing
PFADD hll z
PFCOUNT hll
PFCOUNT hll hll2
PFCOUNT missing
PFMERGE hll hll2
PSETEX str 100000 v
RENAME str str2
RENAME missing x
RENAMENX str num
SET str v
SET str v NX
SET missing v XX
SET str v GET
SET missing v GET
SETBIT bits 1 0
SETEX str 100 v
SETNX str v
SETRANGE str 1 x
STRLEN str
SUBSTR str 0 1
TOUCH str missing
TTL str
TYPE zset
TYPE missing
UNLINK str missing
HDEL hash f1
HEXISTS hash f1
HGET hash f1
HGET hash none
HGET missing f
HGETALL hash
HGETALL missing
HGETALL str
HINCRBY hash n 1
HINCRBYFLOAT hash n 1.5
HKEYS hash
HKEYS missing
HLEN hash
HMGET hash f1 none
HMGET missing f
HMSET hash f1 v
HRANDFIELD one
HRANDFIELD missing
HRANDFIELD one 1
HRANDFIELD one -3
HRANDFIELD one 1 WITHVALUES
HRANDFIELD one -3 WITHVALUES
HRANDFIELD missing 1 WITHVALUES
HRANDFIELD one 0 WITHVALUES
HRANDFIELD hash 5 WITHVALUES
HSCAN hash 0
HSET hash f1 v f3 v
HSETNX hash f1 v
HSTRLEN hash f1
HVALS hash
LINDEX list 0
LINDEX list 9
LINDEX missing 0
LINSERT list BEFORE b x
LLEN list
LMOVE list list2 LEFT RIGHT
LMOVE missing list2 LEFT RIGHT
LMPOP 2 missing list LEFT
LMPOP 1 list LEFT COUNT 2
LMPOP 1 missing LEFT
LPOP list
LPOP missing
LPOP list 2
LPOP list 0
LPOP missing 2
LPOP missing 0
lpop missing 2
LPOS list a
LPOS list zz
LPOS missing a
LPOS list a COUNT 0
LPOS missing a COUNT 0
LPUSH list x
LPUSHX missing x
LRANGE list 0 -1
LRANGE missing 0 -1
LREM list 0 a
LSET list 0 x
LSET missing 0 x
LTRIM list 0 1
RPOP list
RPOP missing
RPOP list 2
RPOP missing 2
RPOPLPUSH list list2
RPOPLPUSH missing list2
RPUSH list x
RPUSHX list x
BLMOVE list list2 LEFT RIGHT 0.01
BLMOVE missing list2 LEFT RIGHT 0.01
BLMPOP 0.01 1 list LEFT
BLMPOP 0.01 1 list LEFT COUNT 2
BLMPOP 0.01 1 missing LEFT
BLPOP list 0.01
BLPOP missing 0.01
BRPOP list 0.01
BRPOP missing 0.01
BRPOPLPUSH list list2 0.01
BRPOPLPUSH missing list2 0.01
BZPOPMIN zset 0.01
BZPOPMIN missing 0.01
BZPOPMAX zset 0.01
BZPOPMAX missing 0.01
BZMPOP 0.01 1 zset MIN
BZMPOP 0.01 1 zset MAX COUNT 2
BZMPOP 0.01 1 missing MIN
SADD set x
SCARD set
SDIFF set set2
SDIFFSTORE dest set set2
SINTER set set2
SINTER set missing
SINTERCARD 2 set set2
SINTERSTORE dest set set2
SISMEMBER set a
SMEMBERS set
SMEMBERS missing
SMEMBERS str
SMISMEMBER set a z
SMISMEMBER missing a
SMOVE set set2 a
SPOP single
SPOP missing
SPOP single 1
SPOP set 10
SPOP missing 1
SPOP set 0
SRANDMEMBER single
SRANDMEMBER missing
SRANDMEMBER single 1
SRANDMEMBER set 10
SRANDMEMBER single -3
SRANDMEMBER missing 1
SREM set a
SSCAN set 0
SUNION set set2
SUNIONSTORE dest set set2
GEOADD geo 1 1 x
GEODIST geo Palermo Catania
GEODIST geo Palermo Nowhere
GEODIST missing a b
GEOHASH geo Palermo Nowhere
GEOHASH missing a
GEOPOS geo Palermo Nowhere
GEOPOS missing a
GEOPOS geo
GEORADIUS geo 15 37 200 km WITHDIST WITHCOORD WITHHASH
GEORADIUS geo 15 37 200 km
GEORADIUS geo 15 37 200 km STORE dest
GEORADIUS missing 15 37 200 km
GEORADIUS_RO geo 15 37 200 km WITHDIST
GEORADIUSBYMEMBER geo Palermo 200 km WITHCOORD
GEORADIUSBYMEMBER geo Palermo 200 km STOREDIST dest
GEORADIUSBYMEMBER_RO geo Palermo 200 km WITHHASH
GEOSEARCH geo FROMMEMBER Palermo BYRADIUS 200 km ASC WITHDIST WITHCOORD
GEOSEARCH geo FROMLONLAT 15 37 BYBOX 400 400 km ASC
GEOSEARCH geo FROMMEMBER Palermo BYRADIUS 200 km ASC WITHDIST
GEOSEARCH missing FROMLONLAT 15 37 BYBOX 400 400 km ASC
GEOSEARCHSTORE dest geo FROMMEMBER Palermo BYRADIUS 200 km
ZADD zset 1 x
ZADD zset INCR 1.5 a
ZADD zset NX INCR 1.5 a
ZADD zset XX INCR 1.5 nobody
ZCARD zset
ZCOUNT zset 1 5
ZDIFF 2 zset zset2
ZDIFF 2 zset zset2 WITHSCORES
ZDIFF 2 missing zset WITHSCORES
ZDIFFSTORE dest 2 zset zset2
ZINCRBY zset 1.1 a
ZINCRBY zset 1 c
ZINTER 2 zset zset2
ZINTER 2 zset zset2 WITHSCORES
ZINTERCARD 2 zset zset2
ZINTERSTORE dest 2 zset zset2
ZLEXCOUNT zset - +
ZMPOP 1 zset MIN
ZMPOP 1 zset MAX COUNT 3
ZMPOP 1 missing MIN
ZMSCORE zset a nobody
ZMSCORE missing a
ZPOPMAX zset
ZPOPMAX zset 2
ZPOPMAX zset 1
ZPOPMAX missing
ZPOPMAX missing 2
ZPOPMIN zset
ZPOPMIN zset 3
ZPOPMIN zset 0
ZPOPMIN missing
ZPOPMIN missing 3
ZRANDMEMBER zone
ZRANDMEMBER missing
ZRANDMEMBER zone 1
ZRANDMEMBER zone -3
ZRANDMEMBER zone 1 WITHSCORES
ZRANDMEMBER zone -3 WITHSCORES
ZRANDMEMBER zset 10 WITHSCORES
ZRANDMEMBER zset 0 WITHSCORES
ZRANDMEMBER missing 1 WITHSCORES
ZRANGE zset 0 -1
ZRANGE zset 0 -1 WITHSCORES
ZRANGE zset 0 -1 REV WITHSCORES
ZRANGE zset -inf +inf BYSCORE LIMIT 0 2 WITHSCORES
ZRANGE zset 5 1 WITHSCORES
ZRANGE missing 0 -1 WITHSCORES
ZRANGE str 0 -1 WITHSCORES
ZRANGEBYLEX zset - +
ZRANGEBYSCORE zset -inf +inf
ZRANGEBYSCORE zset -inf +inf WITHSCORES
ZRANGEBYSCORE missing -inf +inf WITHSCORES
ZRANGESTORE dest zset 0 -1
ZRANK zset a
ZRANK zset nobody
ZRANK missing a
ZREM zset a
ZREMRANGEBYLEX zset2 - +
ZREMRANGEBYRANK zset 0 1
ZREMRANGEBYSCORE zset 0 1
ZREVRANGE zset 0 -1
ZREVRANGE zset 0 -1 WITHSCORES
ZREVRANGEBYLEX zset + -
ZREVRANGEBYSCORE zset +inf -inf WITHSCORES
ZREVRANK zset a
ZREVRANK zset nobody
ZSCAN zset 0
ZSCORE zset a
ZSCORE zset c
ZSCORE zset low
ZSCORE zset nobody
ZSCORE missing a
ZUNION 2 zset zset2
ZUNION 2 zset zset2 WITHSCORES
ZUNION 2 zset zset2 WEIGHTS 2 3 WITHSCORES
ZUNIONSTORE dest 2 zset zset2
XACK stream group 1-1
XADD stream 3-1 f v
XADD missing NOMKSTREAM 3-1 f v
XAUTOCLAIM stream group other 0 0
XAUTOCLAIM stream group other 0 0 JUSTID
XAUTOCLAIM stream empty other 0 0
XDEL stream 1-1 ; XAUTOCLAIM stream group other 0 0
XCLAIM stream group other 0 1-1
XCLAIM stream group other 0 1-1 JUSTID
XDEL stream 1-1
XGROUP CREATE stream g2 $
XGROUP SETID stream group 0
XGROUP DESTROY stream group
XGROUP CREATECONSUMER stream group new
XGROUP DELCONSUMER stream group consumer
XINFO CONSUMERS stream empty
XINFO GROUPS stream
XDEL stream 1-1 ; XINFO GROUPS stream
XINFO STREAM stream
XDEL stream 1-1 2-1 ; XINFO STREAM stream
XINFO STREAM missing
XINFO HELP
XLEN stream
XPENDING stream group
XPENDING stream empty
XPENDING stream group - + 10 nobody
XPENDING stream empty - + 10
XPENDING stream missing
XRANGE stream - +
XRANGE missing - +
XREAD STREAMS stream 0
XREAD COUNT 1 STREAMS stream stream 0 1-1
XREAD STREAMS stream $
XREAD BLOCK 10 STREAMS stream $
XREAD STREAMS missing 0
XREADGROUP GROUP group c2 STREAMS stream >
XREADGROUP GROUP group consumer STREAMS stream 0
XREADGROUP GROUP group nobody STREAMS stream 0
XDEL stream 1-1 ; XREADGROUP GROUP group consumer STREAMS stream 0
XREADGROUP GROUP empty c2 STREAMS stream >
XREADGROUP GROUP empty c2 BLOCK 10 STREAMS stream >
XREADGROUP GROUP none c2 STREAMS stream >
XREVRANGE stream + -
XSETID stream 9-9
XTRIM stream MAXLEN 1
SORT list ALPHA
SORT list BY nosort GET str GET missing
SORT list ALPHA STORE dest
SORT_RO list ALPHA
KEYS str
FLUSHALL ; SET a b ; RANDOMKEY
FLUSHALL ; RANDOMKEY
SCAN 0 MATCH str COUNT 1000
DBSIZE
OBJECT ENCODING str
OBJECT ENCODING missing
OBJECT REFCOUNT str
OBJECT REFCOUNT missing
OBJECT HELP
OBJECT FREQ str
RESTORE fresh 0 garbage
FLUSHDB
FLUSHALL
SWAPDB 0 1
PING
PING hello
ECHO hello
WAIT 0 10
PUBLISH channel message
SPUBLISH channel message
PUBSUB CHANNELS
PUBSUB NUMSUB a b
PUBSUB NUMPAT
PUBSUB SHARDCHANNELS
PUBSUB SHARDNUMSUB a
LASTSAVE
ROLE
LOLWUT VERSION 7
CONFIG GET maxmemory*
CONFIG GET nothing-like-it
CONFIG SET maxmemory 0
CONFIG HELP
CONFIG RESETSTAT
ACL LIST
ACL USERS
ACL WHOAMI
ACL CAT
ACL GETUSER default
ACL GETUSER nobody
ACL SETUSER some reset on ~a* %R~b* &c* +get (+set ~x) ; ACL GETUSER some
ACL LOG
ACL LOG RESET
ACL DRYRUN default get k
COMMAND COUNT
COMMAND INFO get
COMMAND INFO get nonsense eval
COMMAND INFO xgroup
COMMAND DOCS get
COMMAND DOCS set xread config
COMMAND DOCS nonsense
COMMAND LIST FILTERBY PATTERN xr*
COMMAND GETKEYS mset a 1 b 2
COMMAND GETKEYSANDFLAGS mset a 1 b 2
COMMAND
COMMAND HELP
MEMORY USAGE str
MEMORY USAGE missing
MEMORY DOCTOR
MEMORY HELP
SLOWLOG GET
SLOWLOG LEN
SLOWLOG RESET
SLOWLOG HELP
LATENCY LATEST
LATENCY HISTORY command
LATENCY RESET
LATENCY DOCTOR
LATENCY HISTOGRAM nonsense
LATENCY GRAPH command
MODULE LIST
FUNCTION STATS
FUNCTION LIST
FUNCTION LOAD REPLACE #!lua\sname=lib\nredis.register_function('f',function(keys,args)return{1,false,'x'}end) ; FUNCTION LIST WITHCODE
FUNCTION LOAD REPLACE #!lua\sname=lib\nredis.register_function('f',function(keys,args)return{1,false,'x'}end) ; FCALL f 0
FUNCTION LOAD REPLACE #!lua\sname=lib\nredis.register_function{function_name='f',callback=function(keys,args)return{1,false,'x'}end,flags={'no-writes'}} ; FCALL_RO f 0
FUNCTION LOAD REPLACE #!lua\sname=lib\nredis.register_function('f',function(keys,args)return{1,false,'x'}end) ; FUNCTION STATS
FUNCTION FLUSH
SCRIPT EXISTS ffff
SCRIPT LOAD return\s1
SCRIPT FLUSH
SCRIPT HELP
EVAL return\s1 0
EVAL return\s{1,false,'x',nil,3} 0
EVAL return\sfalse 0
EVAL return\strue 0
EVAL return\s{double=3.5} 0
EVAL return\s{double=3.5,{map={a=1}}} 0
EVAL return\s{map={a={double=1.25}}} 0
EVAL return\s{set={a=true}} 0
EVAL return\s{big_number='1234567890123456789012345'} 0
EVAL return\s{verbatim_string={format='txt',string='hello'}} 0
EVAL return\s{err='ERR\smine'} 0
EVAL return\sredis.call('hgetall','hash') 0
EVAL redis.setresp(3);return\sredis.call('hgetall','hash') 0
EVAL redis.setresp(3);return\sredis.call('zrange','zset',0,-1,'withscores') 0
EVAL redis.setresp(3);return\sredis.call('get','missing') 0
EVAL redis.setresp(3);return\sredis.call('xread','streams','stream','0') 0
EVAL redis.setresp(3);return\s{true,redis.call('smembers','single')} 0
EVAL return\sredis.call('lpop','missing',2) 0
EVALSHA ffffffffffffffffffffffffffffffffffffffff 0
EVAL_RO return\s{false} 0
EVALSHA_RO ffffffffffffffffffffffffffffffffffffffff 0
EVAL_RO return\sredis.call('zscore','zset','a') 0
CLUSTER INFO
CLUSTER HELP
DEBUG PROTOCOL string
DEBUG PROTOCOL integer
DEBUG PROTOCOL double
DEBUG PROTOCOL null
DEBUG PROTOCOL array
DEBUG PROTOCOL set
DEBUG PROTOCOL map
DEBUG PROTOCOL verbatim
DEBUG PROTOCOL true
DEBUG PROTOCOL false
DEBUG PROTOCOL bignum
DEBUG OBJECT missing
DEBUG SET-ACTIVE-EXPIRE 1
BGSAVE SCHEDULE x
REPLICAOF NO ONE
SLAVEOF NO ONE
FAILOVER ABORT
MIGRATE 127.0.0.1 1 missing 0 10
PFSELFTEST x
PFDEBUG ENCODING hll
NOSUCHCOMMAND a
GET
MULTI
DISCARD
MULTI ; DISCARD
WATCH a
UNWATCH
READONLY
READWRITE
ASKING
SUBSCRIBE c
UNSUBSCRIBE
UNSUBSCRIBE c
PSUBSCRIBE c*
PUNSUBSCRIBE
SSUBSCRIBE c
SUNSUBSCRIBE
AUTH x y
SELECT 0
SELECT 99
CLIENT TRACKINGINFO
CLIENT GETNAME
CLIENT SETNAME a ; CLIENT GETNAME
CLIENT GETREDIR
CLIENT NO-EVICT off
CLIENT HELP
"""

# An array of any replies; an error for RESP2 clients in place of a push.
OTHERS = r"""
DEBUG PROTOCOL push
EXEC
MULTI ; GET str ; GET missing ; XREAD STREAMS missing 0 ; EXEC
"""

UNTRIED = {
    "time": "the clock", "info": "changes with each call, see test_info", "client": "weir's own",
    "auth": "weir's own", "hello": "weir's own", "quit": "weir's own", "reset": "weir's own",
    "weir": "weir's own", "select": "weir's own", "save": "one line", "bgrewriteaof": "one line",
    "shutdown": "no reply", "monitor": "lines only", "sync": "not RESP", "psync": "not RESP",
    "replconf": "replication", "restore-asking": "as RESTORE", "module": "tried by LIST",
}


@pytest.fixture(scope="module")
def wire():
    return Wire()


@pytest.fixture(scope="module")
def server():
    server = Server()
    yield server
    server.close()


def words(line):
    """Words, with \\s for a space and \\n for a line end in them."""
    return [word.replace(r"\s", " ").replace(r"\n", "\n").encode() for word in line.split()]


def cases(text):
    return [line for line in text.strip().splitlines() if line]


def prepare(wire, server):
    connection = Connection(wire, server.port)
    connection.run("FLUSHALL")
    for line in cases(DATA):
        reply = connection.run(*words(line))
        assert not reply.startswith(b"-"), (line, reply)
    connection.close()


def answers(wire, server, line):
    """The last command's words, and its answers over RESP3 and RESP2."""
    got = []
    for protocol in (3, 2):
        prepare(wire, server)
        connection = Connection(wire, server.port, protocol)
        for part in line.split(" ; "):
            reply = connection.run(*words(part))
        got.append(reply)
        connection.close()
    return words(part), *got


@pytest.mark.parametrize("line", cases(CASES))
def test_converted_is_what_resp2_clients_get(wire, server, line):
    args, resp3, resp2 = answers(wire, server, line)
    shape = PLAIN if args[0] == b"DEBUG" else wire.shape(args)
    assert wire.to_resp2(resp3, shape) == resp2, (shape, resp3)


@pytest.mark.parametrize("line", cases(OTHERS))
def test_what_cannot_be_told_is_named(wire, server, line):
    args, _, _ = answers(wire, server, line)
    assert wire.shape(args) == OTHER


def test_volatile_replies_have_the_same_frame(wire, server):
    """INFO, TIME, MEMORY STATS, CLIENT LIST …: as many elements, of the same types."""
    def outline(frame):
        return [element[:1] for element in re.findall(rb"[*$:+-][^\r\n]*\r\n", frame)]

    for line in ("INFO server", "TIME", "CLIENT INFO", "MEMORY MALLOC-STATS", "CLIENT LIST",
                 "LOLWUT VERSION 5", "LOLWUT VERSION 6"):
        args, resp3, resp2 = answers(wire, server, line)
        converted = wire.to_resp2(resp3, wire.shape(args))
        assert outline(converted)[:1] == outline(resp2)[:1], line
    for line in ("MEMORY STATS", "XINFO CONSUMERS stream group", "XINFO STREAM stream FULL",
                 "LATENCY HISTOGRAM ping", "XPENDING stream group - + 10"):
        args, resp3, resp2 = answers(wire, server, line)
        converted = wire.to_resp2(resp3, wire.shape(args))
        assert outline(converted) == outline(resp2), line


def test_every_command_is_tried(wire):
    tried = {words(part)[0].decode().lower()
             for line in cases(CASES) + cases(OTHERS) + cases(DATA) for part in line.split(" ; ")}
    table = {command.name.decode() for command in wire.commands()}
    assert table - tried - set(UNTRIED) == set()
