"""Two stores that are told the same things, one of them behind weir, and must say the same."""
from lib.resp import Client, Closed, encode
from lib.servers import wait_until


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


def blocked(store):
    with Client(store.address) as client:
        text = client("INFO", "clients").decode()
    return int(text.split("blocked_clients:")[1].split()[0])
