"""Fixtures: servers on free ports, stopped by process id, checked when they stop.

WEIR=path names the binary (build/weir by default). WEIR_DIRECT=1 puts a plain redis-server where weir
would stand, which proves that what test_proxy.py expects is Redis's own behaviour.
"""
import itertools
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from lib.fake import Fake  # noqa: E402
from lib.servers import DIRECT, WEIR, Direct, Redis, Weir  # noqa: E402
from lib.twins import Twins  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "soak: takes long; run by make soak")
    config.addinivalue_line("markers", "weir_only: has no meaning against the store itself")


def pytest_addoption(parser):
    parser.addoption("--soak", action="store_true", help="run the tests marked soak too")


def pytest_collection_modifyitems(config, items):
    for item in items:
        if "soak" in item.keywords and not config.getoption("--soak"):
            item.add_marker(pytest.mark.skip(reason="needs --soak"))
        if DIRECT and "weir_only" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="WEIR_DIRECT=1"))


@pytest.fixture(scope="session", autouse=True)
def binaries():
    assert shutil.which("redis-server"), "redis-server is not installed"
    if not DIRECT:
        if not Path(WEIR).is_file():
            pytest.exit(f"{WEIR} is not built; run make build, or set WEIR", 2)


class Fleet:
    """Starts servers and stops them in reverse order; what one says at its stop is kept to the end."""

    def __init__(self, directory):
        self.directory = directory
        self.servers = []
        self.numbers = itertools.count(1)

    def _keep(self, server):
        self.servers.append(server)
        return server

    def _place(self, name):
        return self.directory / f"{name}-{next(self.numbers)}"

    def redis(self, **options):
        return self._keep(Redis(self._place("redis"), **options))

    def fake(self, data=None):
        if DIRECT:
            pytest.skip("the scripted store has no direct twin")
        return self._keep(Fake(data))

    def weir(self, store, **options):
        if DIRECT:
            return self._keep(Direct(store))
        return self._keep(Weir(self._place("weir"), store, **options).run())

    def logs(self):
        return [(f"{server.name}:{server.port}", server.log()) for server in self.servers
                if isinstance(server, (Redis, Weir))]

    def stop(self):
        problems = []
        while self.servers:
            try:
                self.servers.pop().stop()
            except AssertionError as error:
                problems.append(str(error))
        if problems:
            pytest.fail("\n".join(problems), pytrace=False)


@pytest.fixture
def fleet(tmp_path):
    fleet = Fleet(tmp_path)
    yield fleet
    fleet.stop()


@pytest.fixture(scope="module")
def module_fleet(tmp_path_factory):
    fleet = Fleet(tmp_path_factory.mktemp("servers"))
    yield fleet
    fleet.stop()


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


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.when == "call" and report.failed:
        for name in ("fleet", "module_fleet"):
            for who, log in getattr(item.funcargs.get(name), "logs", list)():
                report.sections.append((f"log of {who}", log[-3000:]))
