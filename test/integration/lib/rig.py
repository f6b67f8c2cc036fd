"""A store, weir in front of it, and the few verbs every coherence test speaks."""
import threading

from lib.servers import DIRECT, wait_until

MAX_STALE_S = 0.3  # what the rigs below configure


class Rig:
    def __init__(self, fleet, store=None, block="", store_options=None, **options):
        self.store = store or fleet.redis(**(store_options or {}))
        options.setdefault("store_timeout", "60s")
        self.weir = fleet.weir(self.store, cache_block=f"max-stale {MAX_STALE_S * 1000:.0f}ms\n{block}",
                               **options)

    def direct(self, **options):
        return self.store.client(**options)

    def client(self, **options):
        return self.weir.client(**options)

    def clients(self, count, **options):
        """Enough connections to meet every thread."""
        return [self.client(**options) for _ in range(count)]

    def hits(self):
        return 0 if DIRECT else self.weir.hits()

    def hits_of(self, action):
        """How many reads were hits while action() ran. Against the store itself: unknown, None."""
        before = self.hits()
        action()
        return None if DIRECT else self.hits() - before

    def warm(self, client, *command):
        """Repeats a read until it is a hit, and returns its last reply."""
        replies = []

        def hit():
            return self.hits_of(lambda: replies.append(client(*command))) != 0

        wait_until(hit, f"a hit of {command}")
        return replies[-1]


def eventually(read, value, what=None):
    """Polls until read() gives `value`."""
    last = []

    def same():
        last[:] = [read()]
        return last[0] == value

    try:
        wait_until(same)
    except AssertionError:
        raise AssertionError(f"{what or 'the value'}: still {last[0]!r}, not {value!r}") from None


class Worker(threading.Thread):
    """A thread whose exception is the test's."""

    def __init__(self, work, *args):
        super().__init__(daemon=True)
        self.work, self.args, self.error = work, args, None
        self.start()

    def run(self):
        try:
            self.work(*self.args)
        except BaseException as error:  # noqa: BLE001: handed to the test by finish()
            self.error = error

    def finish(self, seconds=120):
        self.join(seconds)
        assert not self.is_alive(), f"{self.work.__name__} did not end in {seconds} s"
        if self.error:
            raise self.error


def finish_all(workers):
    for worker in workers:
        worker.finish()
