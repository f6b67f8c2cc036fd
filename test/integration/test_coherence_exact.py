"""The coherence cases whose outcome hangs on the moment of single bytes, on a scripted store.

The numbers are those of the design's list. `fake.hold()`-like verbs stop the wire, not the store: what
was executed meanwhile stands in the stream in its order, as it would behind a slow network.
"""
import itertools
import threading
import time

import pytest

from lib.fake import FLUSHED, OK, array, bulk, integer, invalidation
from lib.resp import Error
from lib.rig import MAX_STALE_S, Rig, eventually
from lib.servers import wait_until

pytestmark = pytest.mark.weir_only
A_MOMENT = 0.2  # time for a wrong answer to show up; a right one needs none


@pytest.fixture
def rig(fleet):
    return Rig(fleet, fleet.fake({"k": "old"}))


def test_fills_and_hits(rig):
    # The ground the cases stand on: a miss asks PTTL and the command, a hit asks nothing.
    client, fake = rig.client(), rig.store
    assert rig.warm(client, "GET", "k") == b"old"
    asked = fake.seen("GET", "k")
    assert [client("GET", "k") for _ in range(10)] == [b"old"] * 10
    assert fake.seen("GET", "k") == asked
    assert fake.seen("PTTL", "k") >= 1
    fake.foreign("SET", "k", "new")
    eventually(lambda: client("GET", "k"), b"new")


def test_many_misses_are_one_flight(rig):
    # Catches: a herd on the store for one cold key.
    client, fake, others = rig.client(), rig.store, rig.clients(8)
    rig.warm(client, "GET", "k")
    fake.lane().hold()
    client.send("GET", "cold")
    fake.wait_seen(1, "GET", "cold")
    for other in others:
        other.send("GET", "cold")
    time.sleep(A_MOMENT / 4)
    fake.lane().release()
    assert [c.reply() for c in [client, *others]] == [None] * 9
    assert fake.seen("GET", "cold") == 1


def test_case_02_reply_behind_its_push(rig):
    # Catches: caching a reply that is already known to be old.
    client, fake = rig.client(), rig.store

    def late(call):
        call.run()
        fake.foreign("SET", "k", "new")  # its push leaves first
        return bulk("old")

    fake.on("GET", late, nth=1, key="k")
    assert client("GET", "k") == b"old"
    assert client("GET", "k") == b"new"
    assert fake.seen("GET", "k") == 2


def test_case_02_reply_behind_a_flush(rig):
    # Catches: a flush that drops entries but lets fills under way finish.
    client, fake = rig.client(), rig.store

    def late(call):
        fake.foreign("FLUSHALL")
        return bulk("old")

    rig.warm(client, "GET", "other")
    fake.on("GET", late, nth=1, key="k")
    assert client("GET", "k") == b"old"
    assert client("GET", "k") is None


def test_case_03_reply_of_a_killed_fill(rig):
    # Catches: fills found by key alone: the first one's reply would satisfy the second's token.
    a, b, c, d = rig.clients(4)
    fake, finish = rig.store, threading.Event()

    def first(call):
        reply = call.run()
        fake.foreign("SET", "k", "new")
        wait_until(call.conn.settled, "weir to read the push")
        b.send("GET", "k")
        wait_until(lambda: b"GET" in call.conn.pending(), "the second fill")
        return reply

    def second(call):
        finish.wait(30)
        return call.run()

    fake.on("GET", first, nth=1, key="k")
    fake.on("GET", second, nth=2, key="k")
    a.send("GET", "k")
    assert a.reply() == b"old"
    c.send("GET", "k")
    time.sleep(A_MOMENT / 4)
    finish.set()
    assert [b.reply(), c.reply(), d("GET", "k")] == [b"new"] * 3


@pytest.mark.parametrize("change", [("SET", "k", "new", "PX", "150"), ("PEXPIRE", "k", "150")],
                         ids=["set px", "pexpire"])
def test_case_04_write_between_pttl_and_get(rig, change):
    # Catches: pairing a TTL with a value of another moment; it would live past its end.
    client, fake = rig.client(), rig.store

    def between(call):
        fake.foreign(*change)
        return call.run()

    fake.on("GET", between, nth=1, key="k")
    first = client("GET", "k")
    assert first in (b"old", b"new")
    client("GET", "k")
    assert fake.seen("GET", "k") == 2
    eventually(lambda: client("GET", "k"), None)


def test_case_05_push_split_at_every_byte(rig):
    # Catches: a parser that needs a push in one read, or loses its place after one.
    client, fake = rig.client(), rig.store
    rig.warm(client, "GET", "k")
    size = len(invalidation("k"))
    cuts = [[n] for n in range(1, size)] + [list(range(1, size))]
    for n, offsets in enumerate(cuts):
        fake.lane().split_next(offsets, b">")
        fake.foreign("SET", "k", n)
        eventually(lambda: client("GET", "k"), b"%d" % n, offsets)
        assert client("GET", "k") == b"%d" % n


def test_case_05_flush_split_at_every_byte(rig):
    # Catches: a push of null taken for something else when it comes in pieces.
    client, fake = rig.client(), rig.store
    for n in range(1, len(FLUSHED)):
        fake.foreign("SET", "k", n)
        eventually(lambda: client("GET", "k"), b"%d" % n)
        fake.lane().split_next([n], b">")
        fake.foreign("FLUSHALL")
        eventually(lambda: client("GET", "k"), None)


REPLIES = {  # command: RESP3 as the store says it, RESP2 as a RESP2 client must see it
    "GET": (b"$5\r\nvalue\r\n", b"$5\r\nvalue\r\n"),
    "GET missing": (b"_\r\n", b"$-1\r\n"),
    "GET empty": (b"$0\r\n\r\n", b"$0\r\n\r\n"),
    "GET lookalike": (b"$11\r\n\r\n$-1\r\n>2\r\n\r\n", b"$11\r\n\r\n$-1\r\n>2\r\n\r\n"),
    "HGETALL": (b"%1\r\n$1\r\nf\r\n$1\r\nv\r\n", b"*2\r\n$1\r\nf\r\n$1\r\nv\r\n"),
    "SMEMBERS": (b"~2\r\n$1\r\na\r\n$0\r\n\r\n", b"*2\r\n$1\r\na\r\n$0\r\n\r\n"),
    "ZSCORE": (b",1.5\r\n", b"$3\r\n1.5\r\n"),
    "LRANGE": (b"*2\r\n$1\r\na\r\n$1\r\nb\r\n", b"*2\r\n$1\r\na\r\n$1\r\nb\r\n"),
    "STRLEN": (b":12345\r\n", b":12345\r\n"),
}
ARGUMENTS = {"ZSCORE": ("m",), "LRANGE": ("0", "-1")}


@pytest.mark.parametrize("name", REPLIES)
def test_case_05_reply_and_push_split_at_every_byte(rig, name):
    # Catches: a reply cut anywhere, with its own invalidation in the same packet, cached or garbled.
    fake, clients = rig.store, {2: rig.client(), 3: rig.client(resp=3)}
    as_resp3, as_resp2 = REPLIES[name]
    command = name.split()[0]
    for offset in range(1, len(as_resp3) + len(invalidation("k000"))):
        key = f"k{offset:03}"
        request = (command, key, *ARGUMENTS.get(command, ()))

        def answer(call):
            if call.conn.proto == 2:
                return as_resp2
            call.conn.split_next([offset], as_resp3)
            return as_resp3 + invalidation(key)

        fake.on(command, answer, nth=1, key=key)
        fake.on(command, lambda call: as_resp3 if call.conn.proto == 3 else as_resp2,
                nth=2, key=key)
        assert clients[3].raw(*request) == as_resp3
        wait_until(fake.lane().settled, "weir to read the push")
        assert clients[2].raw(*request) == as_resp2
        assert fake.seen(command, key) == 2


@pytest.mark.parametrize("moment", ["SET", "GET", "EXEC"])
def test_case_05_push_around_a_transaction(rig, moment):
    # Catches: a push that is mistaken for a reply between QUEUED and EXEC, or that is not heeded.
    client, fake = rig.client(), rig.store
    rig.warm(client, "GET", "k")

    def disturbed(call):
        reply = call.run()
        fake.foreign("SET", "k", "new")
        return reply

    fake.on(moment, disturbed, nth=1)
    assert client("MULTI") == "OK"
    assert [client("SET", "x", "1"), client("GET", "x")] == ["QUEUED", "QUEUED"]
    assert client("EXEC") == ["OK", b"1"]
    assert client("GET", "k") == b"new"


@pytest.mark.parametrize("end", ["reset", "close"])
@pytest.mark.parametrize("part", [b"", b"$", b"$3\r\nol", b"$3\r\nold\r"])
def test_case_07_lane_killed_mid_fill(rig, end, part):
    # Catches: a fill that goes on after its connection, or an entry that the next one vouches for.
    client, other, fake = rig.client(), rig.client(), rig.store
    rig.warm(other, "GET", "else")

    def die(call):
        call.conn.send(part)
        wait_until(call.conn.settled, "weir to read the part")
        getattr(call.conn, end)()
        fake.silently("k", "new")
        fake.silently("else", "new")
        return b""

    fake.on("GET", die, nth=1, key="k")
    assert client("GET", "k") == b"new"  # a read may be asked again
    assert other("GET", "else") == b"new"
    assert rig.warm(client, "GET", "k") == b"new"


def test_case_08_black_holed_store(rig):
    # Catches: hits as long as nothing is heard. No RST comes; only the silence tells.
    clients, fake = rig.clients(4), rig.store
    for client in clients:
        rig.warm(client, "GET", "k")
    fake.black_hole()
    fake.foreign("SET", "k", "new")
    time.sleep(2.5 * MAX_STALE_S)
    for client in clients:
        client.send("GET", "k")
    time.sleep(A_MOMENT)
    assert not [client for client in clients if client.readable()]
    fake.heal()
    assert [client.reply() for client in clients] == [b"new"] * len(clients)
    rig.warm(clients[0], "GET", "k")


def test_case_21_role_change_ends_an_epoch(rig):
    # Catches: hits from before a promotion or a demotion, of which no push tells.
    client, fake = rig.client(), rig.store
    master = fake.role
    replica = array([bulk("slave"), bulk("127.0.0.1"), integer(1), bulk("connected"), integer(0)])
    for n, role in enumerate((replica, master, replica, master)):
        client("GET", "k")
        client("GET", "k")
        fake.silently("k", f"value {n}")
        fake.role = role
        eventually(lambda: client("GET", "k"), b"value %d" % n)
    rig.warm(client, "GET", "k")


CONNECTION_COMMANDS = [
    ("HELLO", "2"), ("HELLO", "3"), ("RESET",), ("CLIENT", "TRACKING", "OFF"),
    ("CLIENT", "TRACKING", "ON", "NOLOOP"), ("CLIENT", "CACHING", "NO"),
    ("CLIENT", "REPLY", "ON"), ("CLIENT", "SETNAME", "me"), ("SELECT", "7"), ("SELECT", "0"),
    ("QUIT",),
]


def test_case_23_nothing_of_a_connection_reaches_a_lane(rig):
    # Catches: forwarding what changes the connection, for the lane is everyone's.
    fake, victim = rig.store, rig.client()
    rig.warm(victim, "GET", "k")
    start = len(fake.log)
    for command in CONNECTION_COMMANDS:
        client = rig.client()
        client(*command)
        client.close()
    for commands in ([("MULTI",), ("GET", "k"), ("DISCARD",)], [("WATCH", "k"), ("UNWATCH",)]):
        rig.client().pipeline(commands)
    rig.client().send_raw(b"CLIENT REPLY OFF\r\nGET k\r\n")
    rig.warm(victim, "GET", "k")
    lane = fake.lane()
    said = {b" ".join(args).upper() for conn, args in fake.log[start:] if conn is lane}
    assert not [words for words in said if words.split()[0] in
                (b"HELLO", b"RESET", b"SELECT", b"QUIT", b"MULTI", b"WATCH", b"DISCARD", b"UNWATCH")]
    assert not [words for words in said if words.startswith((b"CLIENT TRACKING", b"CLIENT REPLY"))]


@pytest.mark.parametrize("error", ["LOADING Redis is loading the dataset in memory",
                                   "NOPERM this user has no permissions",
                                   "MASTERDOWN Link with MASTER is down", "BUSY script", "ERR odd"])
def test_case_24_errors_are_not_cached(rig, error):
    # Catches: an error stored like a value: nothing would ever push its end.
    client, fake = rig.client(), rig.store
    fake.on("GET", lambda call: b"-%b\r\n" % error.encode(), nth=1, key="k")
    assert client("GET", "k") == Error(error)
    assert client("GET", "k") == b"old"


def test_case_28_watch_is_fenced(rig):
    # Catches: WATCH answered while the lane still owes an invalidation: the hit behind it would be
    # older than what is watched, and EXEC would succeed.
    client, fake = rig.client(), rig.store
    rig.warm(client, "GET", "k")
    lane = fake.lane()
    lane.hold()
    fake.foreign("SET", "k", "new")
    client.sock.sendall(b"WATCH k\r\nGET k\r\n")
    fake.wait_seen(1, "WATCH", "k")
    time.sleep(A_MOMENT)
    lane.release()
    assert [client.reply(), client.reply()] == ["OK", b"new"]


@pytest.mark.parametrize("private", ["EVAL x 0", "MULTI\r\nGET k\r\nEXEC", "BLPOP list 1",
                                     "SUBSCRIBE c\r\nUNSUBSCRIBE c"])
def test_case_29_private_replies_are_fenced(rig, private):
    # Catches: a reply of a private connection that overtakes the lane: the next hit sees the past.
    client, fake = rig.client(), rig.store
    rig.warm(client, "GET", "k")
    for command in ("EVAL", "BLPOP"):
        fake.on(command, lambda call: bulk("done"))
    fake.on("SUBSCRIBE", lambda call: b">3\r\n" + bulk("subscribe") + bulk("c") + b":1\r\n"
            if call.conn.proto == 3 else array([bulk("subscribe"), bulk("c"), integer(1)]))
    fake.on("UNSUBSCRIBE", lambda call: b">3\r\n" + bulk("unsubscribe") + bulk("c") + b":0\r\n"
            if call.conn.proto == 3 else array([bulk("unsubscribe"), bulk("c"), integer(0)]))
    lane = fake.lane()
    lane.hold()
    fake.foreign("SET", "k", "new")
    client.send_raw(private.encode() + b"\r\n")
    last = private.split("\r\n")[-1].split()[0]
    fake.wait_seen(1, last)
    client.send_raw(b"GET k\r\n")
    time.sleep(A_MOMENT)
    lane.release()
    replies = []
    while not replies or replies[-1] != b"new":
        replies.append(client.read().value)
        assert replies[-1] != b"old"


def test_case_29_eval_seen_in_multi_then_get(rig):
    # Catches: B, who saw A's script inside MULTI, then hits what was before it.
    a, b, fake = rig.client(), rig.client(), rig.store
    rig.warm(b, "GET", "k")

    def script(call):
        fake.foreign("SET", "k", "new")
        return OK

    fake.on("EVAL", script)
    lane = fake.lane()
    lane.hold()
    a.send("EVAL", "script", 0)
    fake.wait_seen(1, "EVAL")
    b.send_raw(b"MULTI\r\nGET k\r\nEXEC\r\nGET k\r\n")
    fake.wait_seen(1, "EXEC")
    time.sleep(A_MOMENT)
    lane.release()
    assert [b.reply() for _ in range(4)] == ["OK", "QUEUED", [b"new"], b"new"]
    assert a.reply() == "OK"
    assert a("GET", "k") == b"new"


def test_case_31_old_fills_are_not_joined(rig):
    # Catches: joining a fill whose reply was executed long before the request that joins.
    a, b, fake = rig.client(), rig.client(), rig.store
    rig.warm(a, "GET", "else")
    lane = fake.lane()
    lane.hold()
    a.send("GET", "k")
    fake.wait_seen(1, "GET", "k")
    fake.foreign("SET", "k", "new")
    time.sleep(2 * MAX_STALE_S)
    b.send("GET", "k")
    time.sleep(A_MOMENT)
    lane.release()
    assert [a.reply(), b.reply()] == [b"old", b"new"]
    assert b("GET", "k") == b"new"


def test_case_31_a_client_with_a_write_under_way_does_not_join(rig):
    # Catches: a read that joins a fill from before its own client's write.
    a, b, fake = rig.client(), rig.client(), rig.store
    rig.warm(a, "GET", "else")
    lane = fake.lane()
    lane.hold()
    a.send("GET", "k")
    fake.wait_seen(1, "GET", "k")
    b.send_raw(b"SET k new\r\nGET k\r\n")
    fake.wait_seen(1, "SET", "k")
    time.sleep(A_MOMENT)
    lane.release()
    assert a.reply() == b"old"
    assert [b.reply(), b.reply(), a("GET", "k")] == ["OK", b"new", b"new"]


def test_case_32_optin_write_between_pttl_and_get(fleet):
    # Catches: CACHING YES behind PTTL: a SET PX between the two would leave a value past its TTL.
    fake = fleet.fake()
    rig = Rig(fleet, fake, memory="40mb", threads=1)
    client, keys, big = rig.client(), itertools.count(), bulk(b"x" * 6000)

    def uniform():
        client.pipeline([("GET", f"uniform:{next(keys)}") for _ in range(500)])
        return fake.seen("CLIENT", "CACHING") > 0

    filling = fake.on("GET", lambda call: big)
    wait_until(uniform, "the lane to take samples only", deadline=60, pause=0)
    fake.off(filling)
    sampled = []

    def between(call):
        key = call.args[1]
        mine = [args for conn, args in fake.log[-50:] if conn is call.conn]
        if [b"PTTL", key] in mine and key not in sampled:
            before = mine[mine.index([b"PTTL", key]) - 1]
            assert before == [b"CLIENT", b"CACHING", b"YES"]
            sampled.append(key)
            fake.foreign("SET", key.decode(), "v", "PX", "100")
        return call.run()

    fake.on("GET", between)
    while len(sampled) < 20:
        client("GET", f"uniform:{next(keys)}")
    for key in sampled:
        eventually(lambda: client("GET", key), None)


def test_case_34_hits_recover_behind_a_slow_lane(rig):
    # Catches: taking what is out of date for a miss: the slow store would get ever more reads.
    client, fake = rig.client(), rig.store
    rig.warm(client, "GET", "k")
    lane = fake.lane()
    lane.delay = 2 * MAX_STALE_S
    time.sleep(2 * MAX_STALE_S)
    asked = fake.seen("GET", "k")
    assert [client("GET", "k") for _ in range(4)] == [b"old"] * 4
    assert fake.seen("GET", "k") == asked
    fake.foreign("SET", "k", "new")
    time.sleep(A_MOMENT)
    assert client("GET", "k") == b"new"
    lane.delay = 0
    rig.warm(client, "GET", "k")


@pytest.mark.parametrize("version, works", [("7.0.4", False), ("6.2.14", False), ("7.0.5", True),
                                            ("7.2.4", True), ("8.0.0", True)])
def test_servers_without_sound_tracking_are_not_cached(fleet, monkeypatch, version, works):
    # Catches: trusting servers that may put pushes between the elements of an array (redis #8935,
    # #9422); INFO must say why the cache is off.
    monkeypatch.setattr("lib.fake.VERSION", version)
    fake = fleet.fake({"k": "old"})
    rig = Rig(fleet, fake)
    client = rig.client()
    if works:
        assert rig.warm(client, "GET", "k") == b"old"
        return
    assert rig.hits_of(lambda: [client("GET", "k") for _ in range(5)]) == 0
    fake.silently("k", "new")
    assert client("GET", "k") == b"new"
    assert any("off" in value and "7.0.5" in value for value in rig.weir.info().values())


def test_tracking_forbidden_by_the_store(fleet):
    # Catches: hits without invalidations.
    fake = fleet.fake({"k": "old"})
    run = fake.do_client

    def client_command(conn, args):
        if args[1].upper() == b"TRACKING":
            return b"-NOPERM this user has no permissions to run the 'client|tracking' command\r\n"
        return run(conn, args)

    fake.do_client = client_command
    rig = Rig(fleet, fake)
    client = rig.client()
    for n in range(5):
        fake.silently("k", f"{n}")
        assert client("GET", "k") == b"%d" % n
    assert any("off" in value for value in rig.weir.info().values())


def test_unasked_reply_costs_the_lane(rig):
    # A stream that may be off by one must not be used: better a new lane than another's answer.
    client, fake = rig.client(), rig.store
    rig.warm(client, "GET", "k")
    lane = fake.lane()
    lane.send(b"+UNASKED\r\n")
    wait_until(lambda: lane.closed, "weir to give the lane up")
    assert client("GET", "k") == b"old"
