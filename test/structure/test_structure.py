"""The source tree keeps to the house's rules. See checks.py for each."""
import pathlib
import subprocess
import warnings

import checks

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent


def none_of(violations):
    assert not violations, "\n" + "\n".join(violations)


def test_levels():
    none_of(checks.levels(ROOT))


def test_stages_exist():
    none_of(checks.stages(ROOT))


def test_principles_name_tests():
    none_of(checks.principles(ROOT))


def test_sizes():
    none_of(checks.sizes(ROOT))


def test_ratchet():
    allowed = checks.read_ratchet(HERE / "ratchet.txt")
    none_of(checks.ratchet(ROOT, allowed))
    for key, now in checks.ratchet_counts(ROOT).items():
        if len(now) < allowed[key]:
            warnings.warn(f"{key} fell to {len(now)}: lower it in test/structure/ratchet.txt")


def test_large_files_are_explained():
    none_of(checks.explained(ROOT))


def test_headers():
    none_of(checks.headers(ROOT))


def test_no_mutable_state():
    none_of(checks.mutable_state(ROOT, checks.read_allowed(HERE / "globals.txt")))


def test_regressions_are_named():
    none_of(checks.regressions(ROOT))


def test_directives_are_documented(tmp_path):
    program = tmp_path / "directives.c"
    program.write_text('#include "config/config.h"\n#include <stdio.h>\n'
                       "int main(void) { unsigned n;\n"
                       "const struct config_directive *d = config_directives(&n);\n"
                       "for (unsigned i = 0; i < n; i++) puts(d[i].name); }\n")
    parts = [str(p) for folder in ("base", "config") for p in (ROOT / "src" / folder).glob("*.c")]
    subprocess.run(["gcc", *checks.CFLAGS, "-w", "-I", str(ROOT / "src"), str(program), *parts,
                    "-lxxhash", "-lpthread", "-lm", "-o", str(tmp_path / "directives")], check=True)
    listed = subprocess.run([str(tmp_path / "directives")], capture_output=True, text=True,
                            check=True).stdout.split()
    assert len(listed) > 10
    none_of(checks.documented(listed, (ROOT / "man/weir.conf.5").read_text()))
