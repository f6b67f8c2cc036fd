"""command_keys gives what the server's COMMAND GETKEYS gives, and the table is its COMMAND."""
import pytest

from wire_library import FLAGS, Connection, Server, Wire

CASES = """
GET k
SET k v EX 10
MSET a 1 b 2 c 3
MSET a 1 b 2 c 3 d 4 e 5 f 6 g 7
MGET a b c d e f g h i j
DEL a
BITOP AND d a b c
BLPOP a b 0
BLPOP a b c d e f g h i j 0
RENAME a b
COPY a b
LMOVE a b LEFT RIGHT
BLMOVE a b LEFT RIGHT 0
SMOVE a b m
SUNIONSTORE d a b
PFCOUNT a b
PFMERGE d a b
OBJECT ENCODING k
OBJECT FREQ k
MEMORY USAGE k SAMPLES 5
XGROUP CREATE k g $
XGROUP SETID k g $
XGROUP DESTROY k g
XGROUP CREATECONSUMER k g c
XGROUP DELCONSUMER k g c
XINFO STREAM k
XINFO STREAM k FULL
XINFO GROUPS k
XINFO CONSUMERS k g
EVAL s 0
EVAL s 1 k a
EVAL s 2 a b
EVAL s 9 a b c d e f g h i x y
EVALSHA s 2 a b c
EVAL_RO s 1 a b c
EVALSHA_RO s 1 a b c
FCALL f 2 a b c
FCALL_RO f 1 a b c
ZUNION 2 a b
ZUNION 2 a b WEIGHTS 1 2
ZINTER 2 a b WITHSCORES
ZDIFF 1 a
ZINTERCARD 2 a b LIMIT 1
SINTERCARD 2 a b
ZUNIONSTORE d 2 a b
ZINTERSTORE d 1 a AGGREGATE MAX
ZDIFFSTORE d 2 a b
ZRANGESTORE d a 0 -1
LMPOP 2 a b LEFT
ZMPOP 2 a b MIN
BLMPOP 0 2 a b LEFT
BZMPOP 0 2 a b MIN
SORT k
SORT k BY p_* LIMIT 0 5 GET # GET x_* ASC ALPHA STORE d
SORT k GET store
SORT k BY store STORE d
SORT k LIMIT 0 store
SORT k STORE
GEORADIUS k 1 2 3 km
GEORADIUS k 1 2 3 km STORE d
GEORADIUS k 1 2 3 km WITHDIST STOREDIST d
GEORADIUS k 1 2 3 km STORE d STOREDIST e
GEORADIUSBYMEMBER k m 3 km STORE d
GEORADIUSBYMEMBER k m 3 km
GEORADIUS_RO k 1 2 3 km
GEOSEARCHSTORE d k FROMMEMBER m BYRADIUS 1 km
XREAD STREAMS a 0
XREAD COUNT 2 BLOCK 0 STREAMS a b 0 0
XREAD STREAMS a b 0
XREAD STREAMS
XREAD NONSENSE STREAMS a 0
XREADGROUP GROUP g c STREAMS a >
XREADGROUP GROUP g c NOACK COUNT 5 STREAMS a b c d > > > >
XREADGROUP GROUP streams c STREAMS a >
XREADGROUP GROUP g streams STREAMS a >
MIGRATE h 1 k 0 10
MIGRATE h 1 k 0 10 COPY REPLACE
MIGRATE h 1 k 0 10 AUTH keys
MIGRATE h 1 k 0 10 AUTH2 keys keys
MIGRATE h 1 "" 0 10 KEYS a b c
MIGRATE h 1 "" 0 10 AUTH keys KEYS a b c
MIGRATE h 1 "" 0 10 AUTH2 keys keys COPY KEYS a b
RESTORE k 0 v
BITFIELD k GET u8 0
LCS a b IDX
WATCH a b
SPUBLISH c m
SSUBSCRIBE a b
PFDEBUG encoding k
EVAL s 3 a b
EVAL s -1 a
EVAL s x a
EVAL s 01 a
ZUNION 0 a
ZUNION 3 a b
ZUNIONSTORE d 0 a
LMPOP 0 a LEFT
GET
GET a b
MSET a
PING
DBSIZE
"""


@pytest.fixture(scope="module")
def wire():
    return Wire()


@pytest.fixture(scope="module")
def server():
    server = Server()
    yield server
    server.close()


@pytest.mark.parametrize("line", CASES.strip().splitlines())
def test_keys_are_the_servers(wire, server, line):
    args = [word.strip('"') for word in line.split()]
    connection = Connection(wire, server.port)
    reply = connection.run("COMMAND", "GETKEYS", *args)
    ours = wire.keys(args)
    if ours is None:  # then it must be a command that the server refuses
        assert connection.run(*args).startswith(b"-")
    elif args[0] in ("SPUBLISH", "SSUBSCRIBE"):  # channels have slots as keys have
        assert ours == [word.encode() for word in args[1:2 if args[0] == "SPUBLISH" else None]]
    elif reply.startswith(b"-"):
        assert not ours, reply
    else:
        assert ours == reply.split(b"\r\n")[2::2]
    connection.close()


def test_every_destination_of_sort_is_named(wire):
    assert wire.keys(["SORT", "k", "STORE", "d", "STORE", "e"]) == [b"k", b"d", b"e"]


def test_table_is_the_servers(wire, server):
    """Arity, key positions and flags of each command, and no command too many or too few."""
    connection = Connection(wire, server.port)
    names = {command.name.decode(): command for command in wire.commands()}
    count = int(connection.run("COMMAND", "COUNT")[1:-2])
    assert len(names) == count + 1  # and WEIR
    words = {"write": "WRITE", "readonly": "READONLY", "blocking": "BLOCKING", "admin": "ADMIN",
             "movablekeys": "MOVABLE_KEYS", "pubsub": "PUBSUB", "noscript": "NOSCRIPT",
             "loading": "LOADING", "fast": "FAST", "no_auth": "NO_AUTH"}
    for name, command in names.items():
        if name == "weir":
            continue
        reply = connection.run("COMMAND", "INFO", name).split(b"\r\n")
        assert reply[1] == b"*10", name
        assert reply[3].decode() == name
        assert reply[4] == b":%d" % command.arity
        flags, at = [], 6
        while reply[at].startswith(b"+"):
            flags.append(reply[at][1:].decode())
            at += 1
        keys = [int(line[1:]) for line in reply[at:at + 3]]
        assert keys == [command.first_key, command.last_key, command.key_step], name
        for word, flag in words.items():
            if word in flags:
                assert command.flags & FLAGS["COMMAND_" + flag], (name, word)
    connection.close()


def test_names_in_any_case(wire):
    for command in wire.commands():
        name = command.name.decode()
        assert wire.find(name.upper()).id == command.id
        assert wire.find(name.title()).id == command.id
        assert wire.find(name + "x").id != command.id
        assert wire.find(name[:-1]).id != command.id
