"""A lane that was lost twice, the second time before it was up, forgot the number of the connection that
may still hold unread writes, and asked the store to kill the one that had carried nothing."""
from lib.servers import wait_until


def test_the_connection_that_carried_writes_is_killed(fleet):
    fake = fleet.fake()
    weir = fleet.weir(fake, threads=1)
    assert weir.client()("SET", "k", "v") == "OK"
    lane = fake.lane()

    def leave(call):
        call.conn.close()
        return b""

    fake.on("INFO", leave, nth=1)
    lane.close()
    wait_until(lambda: fake.lanes() and fake.lanes()[0] is not lane, "the third connection")
    assert fake.seen("CLIENT", "KILL", "ID", str(lane.number)) == 1
    assert fake.seen("CLIENT", "KILL") == 1
