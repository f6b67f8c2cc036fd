"""A caching proxy that is wrong on purpose, to show that the checker sees it.

    with Toy(address_of_redis, fault) as toy: ... toy.port

GET is cached, SET, DEL, INCR and APPEND pass. The fault says what it gets wrong:
    never   a write does not drop the cached value
    late    a write drops the value when it is sent, but a read that overtook it puts it back
    ttl     writes drop values, reads that were under way too, but nothing expires
"""
import socket
import threading
import time

FAULTS = ("never", "late", "ttl")


def read_request(stream):
    """The arguments of one request and its bytes; None at the end."""
    head = stream.readline()
    if not head:
        return None, b""
    raw, args = head, []
    for _ in range(int(head[1:])):
        size = stream.readline()
        data = stream.read(int(size[1:]) + 2)
        raw += size + data
        args.append(data[:-2])
    return args, raw


def read_reply(stream):
    head = stream.readline()
    if head[:1] == b"$" and head[1:2] != b"-":
        return head + stream.read(int(head[1:]) + 2)
    return head


class Toy:
    def __init__(self, store, fault):
        assert fault in FAULTS
        self.store, self.fault = store, fault
        self.cache, self.versions, self.lock = {}, {}, threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        store = socket.create_connection(self.store)
        requests, replies = client.makefile("rb"), store.makefile("rb")
        try:
            while True:
                args, raw = read_request(requests)
                if args is None:
                    return
                client.sendall(self.answer(args, raw, store, replies))
        except (OSError, ValueError):
            pass
        finally:
            client.close()
            store.close()

    def answer(self, args, raw, store, replies):
        key = args[1]
        if args[0] != b"GET":
            self.drop(key)
            store.sendall(raw)
            reply = read_reply(replies)
            if self.fault == "ttl":
                self.drop(key)
            return reply
        with self.lock:
            version = self.versions.get(key)
            if key in self.cache:
                return self.cache[key]
        store.sendall(raw)
        reply = read_reply(replies)
        if self.fault == "late":
            time.sleep(0.0005)  # long enough for a write to pass
        with self.lock:
            if self.fault != "ttl" or self.versions.get(key) == version:
                self.cache[key] = reply
        return reply

    def drop(self, key):
        if self.fault == "never":
            return
        with self.lock:
            self.versions[key] = self.versions.get(key, 0) + 1
            self.cache.pop(key, None)
