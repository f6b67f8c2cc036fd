"""The checks catch what they are for: each is shown a small tree that breaks its rule."""
import checks
import pytest


@pytest.fixture
def tree(tmp_path):
    def write(**files):
        for path, text in files.items():
            where = tmp_path / path.replace("__", "/").replace("_DOT_", ".")
            where.parent.mkdir(parents=True, exist_ok=True)
            where.write_text(text)
        return tmp_path
    return write


def body(lines):
    return "int f(int a,\n      int b)\n{\n" + "    a++;\n" * (lines - 4) + "}\n"


def test_levels(tree):
    good = tree(src__proxy__a_DOT_c='#include "proxy/b.h"\n#include "wire/resp.h"\n')
    assert checks.levels(good) == []
    assert len(checks.levels(tree(src__wire__a_DOT_h='#include "loop/loop.h"\n'))) == 1
    assert len(checks.levels(tree(src__proxy__a_DOT_c='#include "admin/http.h"\n'))) == 2
    assert len(checks.levels(tree(src__odd__a_DOT_c=""))) == 3


def test_functions(tree):
    root = tree(src__base__a_DOT_c=body(10) + "\nstruct s {\n    int a;\n};\n\n"
                "static const int t[] = {\n    1,\n};\n\nstatic void g(void)\n{\n}\n")
    assert checks.functions(root / "src/base/a.c") == [("f", 1, 10), ("g", 20, 3)]


def test_ratchet(tree):
    allowed = {"functions_over_70": 0, "files_over_600": 0}
    assert checks.ratchet(tree(src__base__a_DOT_c=body(70)), allowed) == []
    assert len(checks.ratchet(tree(src__base__a_DOT_c=body(71)), allowed)) == 1
    assert len(checks.ratchet(tree(src__base__a_DOT_c=body(601)), allowed)) == 2


def test_sizes(tree):
    assert checks.sizes(tree(src__base__a_DOT_c="\n" * 1000)) == []
    assert len(checks.sizes(tree(src__base__a_DOT_c="\n" * 1001))) == 1


def test_explained(tree):
    assert len(checks.explained(tree(src__base__a_DOT_c="int a;\n" * 151))) == 1
    assert checks.explained(tree(src__base__a_DOT_c="// why\n" * 3 + "int a;\n" * 151)) == []


def test_headers(tree):
    assert checks.headers(tree(src__base__a_DOT_h="#pragma once\n#include <stdint.h>\nuint8_t f();\n")) == []
    assert len(checks.headers(tree(src__base__a_DOT_h="int f(void);\n"))) == 1
    assert len(checks.headers(tree(src__base__a_DOT_h="#pragma once\nuint8_t f(void);\n"))) == 1


def test_mutable_state(tree):
    root = tree(src__base__a_DOT_c='static const char *const names[] = {"a"};\n'
                "static int counter;\nint shown = 1;\n_Thread_local int mine;\n"
                "int f(void)\n{\n    static int calls;\n"
                "    return ++calls + counter++ + names[0][0];\n}\n")
    found = checks.mutable_state(root, {"src/base/a.c:shown"})
    assert [v.split(": ")[0].split(":")[1] for v in sorted(found)] == ["calls", "counter", "mine"]


def test_stages(tree):
    root = tree(src__base__a_DOT_c=body(9), docs__ARCHITECTURE_DOT_md="1. `base/a.c:f`\n")
    assert checks.stages(root) == []
    tree(docs__ARCHITECTURE_DOT_md="`base/a.c:gone` `base/none.c:f`")
    assert len(checks.stages(root)) == 2
    tree(docs__ARCHITECTURE_DOT_md="nothing")
    assert len(checks.stages(root)) == 1


def test_principles(tree):
    root = tree(test__a_DOT_py="def test_one(): pass\n",
                docs__PRINCIPLES_DOT_md="1. Rule. `test/a.py:test_one`\n2. Rule. `test/a.py`\n")
    assert checks.principles(root) == []
    tree(docs__PRINCIPLES_DOT_md="1. Rule.\n2. `test/a.py:test_two`\n4. `test/none.py`\n")
    assert len(checks.principles(root)) == 4


def test_documented():
    man = ".TP\n.BI memory \" size\"\n.TP\n.B max\\-stale\nabout threads\n"
    assert checks.documented(["memory", "max-stale"], man) == []
    assert len(checks.documented(["threads"], man)) == 1


def test_regressions(tree):
    assert checks.regressions(tree(test__regress__test_lost_ack_DOT_c="// An ack was lost.\n")) == []
    assert len(checks.regressions(tree(test__regress__odd_DOT_c="// x\n"))) == 1
    assert len(checks.regressions(tree(test__regress__test_x_DOT_py="import os\n"))) == 2
