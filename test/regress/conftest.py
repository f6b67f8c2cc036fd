"""One file per bug that was found. The fixtures and servers are the integration tests' own."""
import importlib.util
import sys
from pathlib import Path

INTEGRATION = Path(__file__).resolve().parents[1] / "integration"
sys.path.insert(0, str(INTEGRATION))

spec = importlib.util.spec_from_file_location("integration_conftest", INTEGRATION / "conftest.py")
shared = importlib.util.module_from_spec(spec)
spec.loader.exec_module(shared)

for name in ("pytest_configure", "pytest_addoption", "pytest_collection_modifyitems", "binaries",
             "fleet", "module_fleet", "pytest_runtest_makereport"):
    globals()[name] = getattr(shared, name)
