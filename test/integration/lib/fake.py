"""A scripted Redis: by default a tiny one with tracking, and every byte and its moment are a test's.

    fake = Fake()
    fake.foreign("SET", "k", "v")            # a writer elsewhere; invalidations go out
    fake.on("GET", hook, nth=1)              # hook(call) answers instead; call.run() is the default
    fake.wait_seen(2, "GET", "k")            # until that many such requests have arrived
    lane = fake.lane()                       # the tracked connection
    lane.hold() ... lane.release()           # what it says stays in the wire
    lane.delay = 0.2                         # each reply that much later, in order
    lane.split_next([7], b">")               # an output leaves in pieces, each read apart
    fake.black_hole() ... fake.heal()        # nothing is read or answered; nothing is reset
    lane.reset(), lane.close()               # RST, FIN

Execution is one at a time, as in Redis; a hook that waits stalls its own connection only. A
connection's own invalidations follow its reply; others' go out at once.
"""
import queue
import socket
import struct
import threading
import time
from collections import defaultdict

from lib.resp import Closed, Reader, encode
from lib.servers import wait_until

VERSION = "7.0.15"


def bulk(data):
    data = data if isinstance(data, bytes) else str(data).encode()
    return b"$%d\r\n%b\r\n" % (len(data), data)


def integer(value):
    return b":%d\r\n" % value


def array(items):
    return b"*%d\r\n" % len(items) + b"".join(items)


def invalidation(*keys):
    return b">2\r\n" + bulk("invalidate") + array([bulk(key) for key in keys])


FLUSHED = b">2\r\n" + bulk("invalidate") + b"_\r\n"
OK = b"+OK\r\n"
ARITY = b"-ERR wrong number of arguments\r\n"


class Keyspace:
    """Strings with expiry in numbered databases. One namespace for tracking, as Redis has it."""

    def __init__(self):
        self.dbs = defaultdict(dict)  # db -> key -> (value, expires at, monotonic seconds, or None)
        self.dirty = []               # keys changed by the command under way; None for a flush

    def get(self, db, key):
        value, expires = self.dbs[db].get(key, (None, None))
        if expires is not None and time.monotonic() >= expires:
            self.delete(db, key)
            return None
        return value

    def pttl_ms(self, db, key):
        if self.get(db, key) is None:
            return -2
        expires = self.dbs[db][key][1]
        return -1 if expires is None else max(0, int((expires - time.monotonic()) * 1000))

    def set(self, db, key, value, expires=None):
        self.dbs[db][key] = (value, expires)
        self.dirty.append(key)

    def delete(self, db, key):
        if self.dbs[db].pop(key, None) is None:
            return 0
        self.dirty.append(key)
        return 1

    def flush(self, db=None):
        for n in [db] if db is not None else list(self.dbs):
            self.dbs[n].clear()
        self.dirty.append(None)


def cmd_set(keys, conn, key, value, *options):
    options = [option.upper() for option in options]
    expires = None
    for unit, scale in ((b"PX", 1000), (b"EX", 1)):
        if unit in options:
            expires = time.monotonic() + int(options[options.index(unit) + 1]) / scale
    exists = keys.get(conn.db, key) is not None
    if (b"NX" in options and exists) or (b"XX" in options and not exists):
        return conn.null()
    keys.set(conn.db, key, value, expires)
    return OK


def cmd_pexpire(keys, conn, key, ms):
    value = keys.get(conn.db, key)
    if value is None:
        return integer(0)
    keys.set(conn.db, key, value, time.monotonic() + int(ms) / 1000)
    return integer(1)


def cmd_incr(keys, conn, key):
    value = int(keys.get(conn.db, key) or 0) + 1
    keys.set(conn.db, key, b"%d" % value)
    return integer(value)


def cmd_mset(keys, conn, *pairs):
    for key, value in zip(pairs[::2], pairs[1::2]):
        keys.set(conn.db, key, value)
    return OK


def cmd_flush(db_of):
    def run(keys, conn, *_):
        keys.flush(db_of(conn))
        return OK
    return run


READS = {  # keys are all arguments, but for the last column's commands only the first
    b"GET": lambda keys, conn, key: conn.maybe(keys.get(conn.db, key)),
    b"MGET": lambda keys, conn, *names: array([conn.maybe(keys.get(conn.db, k)) for k in names]),
    b"PTTL": lambda keys, conn, key: integer(keys.pttl_ms(conn.db, key)),
    b"EXISTS": lambda keys, conn, *names: integer(
        sum(keys.get(conn.db, key) is not None for key in names)),
    b"STRLEN": lambda keys, conn, key: integer(len(keys.get(conn.db, key) or b"")),
    b"TYPE": lambda keys, conn, key: b"+none\r\n" if keys.get(conn.db, key) is None
    else b"+string\r\n",
}
WRITES = {
    b"SET": cmd_set,
    b"DEL": lambda keys, conn, *names: integer(sum(keys.delete(conn.db, key) for key in names)),
    b"PEXPIRE": cmd_pexpire,
    b"INCR": cmd_incr,
    b"MSET": cmd_mset,
    b"FLUSHALL": cmd_flush(lambda conn: None),
    b"FLUSHDB": cmd_flush(lambda conn: conn.db),
}


class Call:
    """One request as a hook sees it."""

    def __init__(self, conn, args, n):
        self.conn, self.args, self.n = conn, args, n
        self.after = b""  # own invalidations, to follow the reply

    def run(self):
        """Executes the command as the tiny Redis would; returns the reply's bytes."""
        reply, self.after = self.conn.fake.execute(self.conn, self.args)
        return reply


class Connection:
    """One accepted connection: a thread that executes, a thread that writes."""

    def __init__(self, fake, sock, number):
        self.fake, self.sock, self.number = fake, sock, number
        self.peer_port = sock.getpeername()[1]
        self.proto, self.db, self.name = 2, 0, ""
        self.tracking = self.optin = self.caching = self.caching_next = False
        self.queued = None          # MULTI: the requests so far
        self.watched = {}           # (db, key) -> value at WATCH
        self.closed = False
        self.delay = 0.0
        self.split = None           # (first bytes, offsets) of an output to come
        self.flowing = threading.Event()
        self.flowing.set()
        self.output = queue.Queue()
        self.unwritten = 0          # outputs queued or being written
        self.reader = Reader(sock)
        for run in (self._execute, self._write):
            threading.Thread(target=run, daemon=True).start()

    # -- what tests say ---------------------------------------------------------------------------
    def hold(self):
        self.flowing.clear()

    def release(self):
        self.flowing.set()

    def split_next(self, offsets, first=b""):
        """The next output that begins with `first` leaves in pieces, cut at these offsets."""
        self.split = (first, list(offsets))

    def send(self, data):
        """Puts bytes in the output, behind what is there."""
        if data:
            self.unwritten += 1
            self.output.put((time.monotonic() + self.delay, data))

    def reset(self):
        """Aborts with RST; what was not yet sent is lost."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close(socket.SHUT_RD)

    def close(self, how=socket.SHUT_RDWR):
        self.closed = True
        self.fake.forget(self)
        self.flowing.set()
        self.output.put(None)
        try:
            self.sock.shutdown(how)  # wakes the thread that reads; only then does the socket close
        except OSError:
            pass
        self.sock.close()

    def pending(self):
        """Complete requests that have arrived and wait behind the one under way: peeks."""
        try:
            data = self.sock.recv(1 << 20, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except OSError:
            data = b""
        return bytes(self.reader.buffer[self.reader.at:]) + data

    def drained(self):
        """Has the peer read every byte that was sent to it?"""
        ours = f"0100007F:{self.fake.port:04X}"
        theirs = f"0100007F:{self.peer_port:04X}"
        with open("/proc/net/tcp", encoding="ascii") as table:
            for line in table:
                fields = line.split()
                if (fields[1], fields[2]) == (theirs, ours):
                    return fields[4].endswith(":00000000")
        return True

    def settled(self):
        """Has the peer read all that was ever to be said to it so far?"""
        return self.unwritten == 0 and self.drained()

    # -- composing ----------------------------------------------------------------------------------
    def null(self):
        return b"_\r\n" if self.proto == 3 else b"$-1\r\n"

    def maybe(self, value):
        return self.null() if value is None else bulk(value)

    def map(self, pairs):
        head = b"%%%d\r\n" % len(pairs) if self.proto == 3 else b"*%d\r\n" % (2 * len(pairs))
        return head + b"".join(bulk(name) + value for name, value in pairs)

    # -- threads --------------------------------------------------------------------------------------
    def _execute(self):
        try:
            while not self.closed:
                args = [bytes(arg) for arg in self.reader.frame().value]
                self.fake.healthy.wait()
                reply, after = self.fake.answer(self, args)
                self.send(reply)
                self.send(after)
        except (Closed, OSError, ValueError, AssertionError, TypeError):
            pass
        self.close()

    def _write(self):
        while (item := self.output.get()) is not None:
            due, data = item
            time.sleep(max(0.0, due - time.monotonic()))
            self.flowing.wait()
            try:
                self._write_pieces(data)
            except OSError:
                return
            self.unwritten -= 1

    def _write_pieces(self, data):
        offsets, start = [], 0
        if self.split and data.startswith(self.split[0]):
            offsets, self.split = self.split[1], None
        for offset in [*offsets, len(data)]:
            if start < offset <= len(data):
                self.sock.sendall(data[start:offset])
                start = offset
                if offset < len(data):
                    wait_until(self.drained, "weir to read the first part", pause=0.0005)


class Fake:
    def __init__(self, data=None):
        self.lock = threading.RLock()
        self.keys = Keyspace()
        self.tracked = defaultdict(set)  # key -> connections that are owed an invalidation
        self.hooks = []
        self.log = []                    # (connection, args), in order of arrival
        self.connections = []
        self.number = 0
        self.role = array([bulk("master"), integer(0), array([])])
        self.command_reply = b"*0\r\n"
        self.healthy = threading.Event()
        self.healthy.set()
        self.refuse = False              # accept, and close at once
        self.open = True
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(64)
        self.address = self.listener.getsockname()
        self.port = self.address[1]
        for key, value in (data or {}).items():
            self.keys.set(0, key.encode(), value.encode())
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}"

    def _accept(self):
        while self.open:
            try:
                sock, _ = self.listener.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if self.refuse:
                    sock.close()
                    continue
                self.number += 1
                self.connections.append(Connection(self, sock, self.number))
            except OSError:
                pass

    def stop(self):
        self.open = False
        self.healthy.set()
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        for conn in list(self.connections):
            conn.close()

    # -- what tests say ---------------------------------------------------------------------------
    def on(self, command, hook, nth=None, key=None, conn=None):
        """hook(call) answers `command`: each time, or only the nth from now. It returns bytes."""
        entry = {"name": command.upper().encode(), "hook": hook, "nth": nth, "conn": conn,
                 "key": key.encode() if isinstance(key, str) else key, "n": 0}
        with self.lock:
            self.hooks.append(entry)
        return entry

    def off(self, entry):
        with self.lock:
            self.hooks.remove(entry)

    def seen(self, command, *first, conn=None):
        """How many requests of this name (and these first arguments) have arrived."""
        wanted = [command.upper().encode(), *(a.encode() if isinstance(a, str) else a
                                              for a in first)]
        with self.lock:
            return sum(1 for c, args in self.log
                       if (conn is None or c is conn) and args[0].upper() == wanted[0]
                       and args[1:len(wanted)] == wanted[1:])

    def wait_seen(self, count, command, *first):
        wait_until(lambda: self.seen(command, *first) >= count, f"{count} × {command} {first}")

    def lanes(self):
        return [conn for conn in self.connections if conn.tracking and not conn.closed]

    def lane(self):
        return wait_until(self.lanes, "a tracked connection")[0]

    def black_hole(self):
        self.healthy.clear()
        for conn in list(self.connections):
            conn.hold()

    def heal(self):
        for conn in list(self.connections):
            conn.release()
        self.healthy.set()

    def foreign(self, *args):
        """A command of a client elsewhere, at once; its invalidations are sent."""
        writer = Outsider(self)
        reply, _ = self.execute(writer, [str(arg).encode() for arg in args])
        return reply

    def silently(self, key, value, db=0):
        """Changes a key without any invalidation, as a foreign SWAPDB would."""
        with self.lock:
            self.keys.dbs[db][key.encode()] = (value.encode(), None)

    def forget(self, conn):
        with self.lock:
            if conn in self.connections:
                self.connections.remove(conn)
            for readers in self.tracked.values():
                readers.discard(conn)

    # -- execution ----------------------------------------------------------------------------------
    def answer(self, conn, args):
        with self.lock:
            self.log.append((conn, args))
            call = Call(conn, args, 0)
            hook = self._hook_for(conn, args, call)
        reply = hook(call) if hook else call.run()
        return reply, call.after

    def _hook_for(self, conn, args, call):
        matching = [entry for entry in self.hooks
                    if entry["name"] == args[0].upper()
                    and entry["key"] in (None, *args[1:]) and entry["conn"] in (None, conn)]
        for entry in matching:
            entry["n"] += 1
        for entry in matching:
            if entry["nth"] in (None, entry["n"]):
                call.n = entry["n"]
                if entry["nth"] is not None:
                    self.hooks.remove(entry)
                return entry["hook"]
        return None

    def execute(self, conn, args):
        """Returns the reply and the connection's own invalidations."""
        with self.lock:
            self.keys.dirty = []
            name = args[0].upper()
            if conn.queued is not None and name not in (b"EXEC", b"DISCARD", b"MULTI"):
                conn.queued.append(args)
                return b"+QUEUED\r\n", b""
            reply = self._run(conn, name, args)
            return reply, self._invalidate(conn)

    def _run(self, conn, name, args):
        try:
            if name in READS:
                self.keys.dirty, before = [], self.keys.dirty
                reply = READS[name](self.keys, conn, *args[1:])
                self.keys.dirty = before + self.keys.dirty
                self._track(conn, args[1:])
                return reply
            if name in WRITES:
                return WRITES[name](self.keys, conn, *args[1:])
            method = getattr(self, "do_" + name.decode().lower(), None)
            if method is None:
                return b"-ERR unknown command '%b', with args beginning with: \r\n" % args[0]
            return method(conn, args)
        except TypeError:
            return ARITY
        finally:
            conn.caching, conn.caching_next = conn.caching_next, False

    def _track(self, conn, names):
        if conn.tracking and (not conn.optin or conn.caching):
            for key in names:
                self.tracked[key].add(conn)

    def _invalidate(self, conn):
        own = b""
        for key in self.keys.dirty:
            if key is None:
                readers, push = {c for c in self.connections if c.tracking}, FLUSHED
                self.tracked.clear()
            else:
                readers, push = self.tracked.pop(key, ()), invalidation(key)
            for reader in readers:
                if reader is conn:
                    own += push
                else:
                    reader.send(push)
        return own

    # -- the other commands ---------------------------------------------------------------------------
    def do_ping(self, conn, args):
        return b"+PONG\r\n" if len(args) == 1 else bulk(args[1])

    def do_echo(self, conn, args):
        return bulk(args[1])

    def do_hello(self, conn, args):
        if len(args) > 1:
            conn.proto = int(args[1])
        return conn.map([("server", bulk("redis")), ("version", bulk(VERSION)),
                         ("proto", integer(conn.proto)), ("id", integer(conn.number)),
                         ("mode", bulk("standalone")), ("role", bulk("master")),
                         ("modules", array([]))])

    def do_auth(self, conn, args):
        return OK

    def do_select(self, conn, args):
        conn.db = int(args[1])
        return OK

    def do_info(self, conn, args):
        return bulk(f"# Server\r\nredis_version:{VERSION}\r\nredis_mode:standalone\r\n"
                    f"run_id:{self.port:040}\r\n"
                    "# Replication\r\nrole:master\r\n# Keyspace\r\n")

    def do_role(self, conn, args):
        return self.role

    def do_command(self, conn, args):
        return integer(0) if len(args) > 1 else self.command_reply

    def do_config(self, conn, args):
        return conn.map([]) if args[1].upper() == b"GET" else OK

    def do_acl(self, conn, args):
        return bulk("default")

    def do_dbsize(self, conn, args):
        return integer(len(self.keys.dbs[conn.db]))

    def do_touch(self, conn, args):
        return integer(sum(key in self.keys.dbs[conn.db] for key in args[1:]))

    def do_wait(self, conn, args):
        return integer(0)

    def do_reset(self, conn, args):
        conn.proto, conn.db, conn.tracking, conn.queued = 2, 0, False, None
        return b"+RESET\r\n"

    def do_client(self, conn, args):
        sub = args[1].upper()
        if sub == b"ID":
            return integer(conn.number)
        if sub == b"TRACKING":
            conn.tracking = args[2].upper() == b"ON"
            conn.optin = b"OPTIN" in [arg.upper() for arg in args[3:]]
            return OK
        if sub == b"CACHING":
            conn.caching_next = args[2].upper() == b"YES"
            return OK
        if sub == b"KILL":
            return self._client_kill(args)
        return OK

    def _client_kill(self, args):
        if args[2].upper() != b"ID":
            return integer(0)
        victims = [c for c in self.connections if c.number == int(args[3])]
        for victim in victims:
            victim.close()
        return integer(len(victims))

    def do_multi(self, conn, args):
        conn.queued = []
        return OK

    def do_discard(self, conn, args):
        conn.queued, conn.watched = None, {}
        return OK

    def do_watch(self, conn, args):
        for key in args[1:]:
            conn.watched[conn.db, key] = self.keys.get(conn.db, key)
        return OK

    def do_unwatch(self, conn, args):
        conn.watched = {}
        return OK

    def do_exec(self, conn, args):
        queued, conn.queued = conn.queued, None
        if queued is None:
            return b"-ERR EXEC without MULTI\r\n"
        changed = any(self.keys.get(db, key) != value
                      for (db, key), value in conn.watched.items())
        conn.watched = {}
        if changed:
            return b"_\r\n" if conn.proto == 3 else b"*-1\r\n"
        return array([self._run(conn, args[0].upper(), args) for args in queued])


class Outsider:
    """The connection of a writer elsewhere: never tracked, its replies go nowhere."""

    def __init__(self, fake):
        self.fake = fake
        self.db, self.proto, self.queued, self.watched = 0, 2, None, {}
        self.tracking = self.optin = self.caching = self.caching_next = False
        self.null, self.maybe = (lambda: b"$-1\r\n"), (lambda value: b"")
        self.map = lambda pairs: b"*0\r\n"


__all__ = ["Fake", "array", "bulk", "encode", "integer", "invalidation", "FLUSHED", "OK"]
