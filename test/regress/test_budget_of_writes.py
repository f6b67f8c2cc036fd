"""One client that pipelined large writes to a store that stood still took the whole buffer budget, and
the others' requests were refused."""
import signal

from lib.rig import Worker, finish_all
from lib.resp import command_bytes


def test_writes_of_one_client_leave_room_for_others(fleet):
    store = fleet.redis()
    weir = fleet.weir(store, threads=1, memory="64mb", client_buffer="1mb", store_timeout="60s")
    greedy, others = weir.client(), [weir.client() for _ in range(20)]
    value = "v" * 60_000
    store.signal(signal.SIGSTOP)
    sender = Worker(greedy.send_raw, command_bytes([("SET", f"k{n}", value) for n in range(400)]))
    taken = [-1, 0]
    while taken[0] != taken[1]:  # until weir reads no more of it
        sender.join(0.2)
        taken = [taken[1], weir.metric("received_bytes_total") // 100_000]
    for n, client in enumerate(others):
        client.send("SET", f"other{n}", "x" * 60_000)
    for client in others:
        assert not client.readable(0.02), client.reply()
    store.signal(signal.SIGCONT)
    assert [client.reply() for client in others] == ["OK"] * 20
    assert [greedy.reply() for _ in range(400)] == ["OK"] * 400
    finish_all([sender])
