"""What docs/ARCHITECTURE.md and the house style say about the source tree, as checks.

Each check takes the root of a tree and returns a list of violations, one sentence each, empty when
all is well. test_structure.py runs them on this repository; test_checks.py shows that they catch
what they are for.
"""
import concurrent.futures
import os
import pathlib
import re
import subprocess
import tempfile

# A folder of src/ includes itself and lower levels only; two folders of one level don't know each
# other. main.c is above all.
LEVELS = {
    "base": 0,
    "loop": 1, "wire": 1, "observe": 1,
    "route": 2, "cache": 2, "config": 2,
    "proxy": 3,
    "admin": 4, "journal": 4, "migrate": 4, "feed": 4, "fleet": 4,
    "cli": 5,
}
MAX_FILE_LINES = 1000
LARGE_FILE_LINES = 600
LARGE_FUNCTION_LINES = 70
EXPLAINED_FILE_LINES = 150
CFLAGS = ["-std=gnu17", "-D_GNU_SOURCE", '-DWEIR_VERSION="0"']


def sources(root, *suffixes):
    return sorted(p for p in (root / "src").rglob("*") if p.suffix in (suffixes or (".c", ".h")))


def name(root, path):
    return str(path.relative_to(root))


def lines_of(path):
    return path.read_text(errors="replace").splitlines()


# ---- levels --------------------------------------------------------------------------------------
def levels(root):
    found = []
    for path in sources(root, ".c", ".h", ".inc"):
        folder = path.relative_to(root / "src").parts[0]
        if folder == "main.c":
            continue
        if folder not in LEVELS:
            found.append(f"{name(root, path)}: folder '{folder}' has no level in checks.py")
            continue
        for number, line in enumerate(lines_of(path), 1):
            match = re.match(r'\s*#\s*include\s+"([^"/]+)/', line)
            if not match or match[1] == folder:
                continue
            other = match[1]
            if other not in LEVELS:
                found.append(f"{name(root, path)}:{number}: includes unknown folder '{other}'")
            elif LEVELS[other] >= LEVELS[folder]:
                found.append(f"{name(root, path)}:{number}: {folder} (L{LEVELS[folder]}) includes "
                             f"{other} (L{LEVELS[other]})")
    return found


# ---- functions -----------------------------------------------------------------------------------
def functions(path):
    """(name, first line, lines) of each function defined in a file laid out by .clang-format."""
    lines = lines_of(path)
    found, signature = [], []
    start = None
    for number, line in enumerate(lines, 1):
        if start is None:
            if line == "{":
                text = " ".join(signature)
                match = re.search(r"(\w+)\s*\([^=]*\)\s*(__attribute__.*)?$", text)
                start = (match[1] if match else "?", number - len(signature), bool(match))
            elif re.match(r"[A-Za-z_]", line) and not line.endswith(":"):
                signature = [line]
            elif line.startswith((" ", "\t")) and signature:
                signature.append(line.strip())
            else:
                signature = []
        elif line.startswith("}"):
            if start[2] and line == "}":
                found.append((start[0], start[1], number - start[1] + 1))
            start, signature = None, []
    return found


def ratchet_counts(root):
    long_functions, long_files = [], []
    for path in sources(root):
        length = len(lines_of(path))
        if length > LARGE_FILE_LINES:
            long_files.append(f"{name(root, path)} ({length} lines)")
        if path.suffix == ".c":
            long_functions += [f"{name(root, path)}:{line} {function} ({size} lines)"
                               for function, line, size in functions(path)
                               if size > LARGE_FUNCTION_LINES]
    return {"functions_over_70": long_functions, "files_over_600": long_files}


def read_ratchet(path):
    pairs = (line.split() for line in lines_of(path) if line and not line.startswith("#"))
    return {key: int(value) for key, value in pairs}


def ratchet(root, allowed):
    return [f"{key}: {len(now)}, at most {allowed[key]} are allowed (test/structure/ratchet.txt): "
            + ", ".join(now)
            for key, now in ratchet_counts(root).items() if len(now) > allowed[key]]


def sizes(root):
    return [f"{name(root, path)}: {len(lines_of(path))} lines, at most {MAX_FILE_LINES}"
            for path in sources(root) if len(lines_of(path)) > MAX_FILE_LINES]


def explained(root):
    """A .c over 150 lines says first what it is for, at some length."""
    found = []
    for path in sources(root, ".c"):
        lines = lines_of(path)
        if len(lines) <= EXPLAINED_FILE_LINES:
            continue
        opening = 0
        for line in lines:
            if not line.startswith(("//", "/*", " *")):
                break
            opening += 1
        if opening < 3:
            found.append(f"{name(root, path)}: {len(lines)} lines, but no opening comment")
    return found


# ---- headers -------------------------------------------------------------------------------------
def compiles(root, path):
    done = subprocess.run(
        ["gcc", *CFLAGS, "-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-I", str(root / "src"),
         "-x", "c", "-"], input=f'#include "{path.relative_to(root / "src")}"\n', text=True,
        capture_output=True, check=False)
    return None if done.returncode == 0 else done.stderr.splitlines()[0]


def headers(root):
    paths = sources(root, ".h")
    found = [f"{name(root, path)}: the first line is not #pragma once"
             for path in paths if lines_of(path)[:1] != ["#pragma once"]]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        errors = pool.map(lambda path: compiles(root, path), paths)
    return found + [f"{name(root, path)}: does not compile alone: {error}"
                    for path, error in zip(paths, errors) if error]


# ---- mutable state -------------------------------------------------------------------------------
def mutable_symbols(root, path, directory):
    """Symbols of one object file that live in writable sections (.data.rel.ro is not: it is
    constant after relocation)."""
    obj = pathlib.Path(directory) / (name(root, path).replace("/", "_") + ".o")
    done = subprocess.run(["gcc", *CFLAGS, "-O0", "-w", "-I", str(root / "src"), "-c", str(path),
                           "-o", str(obj)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return [f"{name(root, path)}: does not compile: {done.stderr.splitlines()[0]}"]
    table = subprocess.run(["objdump", "-t", str(obj)], capture_output=True, text=True, check=True)
    found = []
    for line in table.stdout.splitlines():
        match = re.match(r"\w+ .{7} (\.(?:data|bss|tdata|tbss)\S*|\*COM\*)\s+\w+\s+(?:\.hidden )?"
                         r"(\S+)$", line)
        if match and not match[1].startswith(".data.rel.ro") and not match[2].startswith("."):
            symbol = re.sub(r"\.\d+$", "", match[2]) # a static inside a function is numbered
            found.append(f"{name(root, path)}:{symbol}")
    return found


def read_allowed(path):
    return {line.split()[0] for line in lines_of(path) if line and not line.startswith("#")}


def mutable_state(root, allowed):
    paths = sources(root, ".c")
    with tempfile.TemporaryDirectory() as directory, \
            concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        found = [symbol for symbols in
                 pool.map(lambda path: mutable_symbols(root, path, directory), paths)
                 for symbol in symbols]
    return [f"{symbol}: mutable state at file scope" for symbol in found if symbol not in allowed]


# ---- documents -----------------------------------------------------------------------------------
def stages(root):
    """Every `src/…/file.c:function` of ARCHITECTURE.md is a function of that file."""
    text = (root / "docs/ARCHITECTURE.md").read_text()
    found, named = [], re.findall(r"`([a-z0-9_/]+\.[ch]):([a-z0-9_]+)`", text)
    if not named:
        return ["docs/ARCHITECTURE.md names no stage"]
    for file, function in named:
        path = root / (file if file.startswith("src/") else f"src/{file}")
        if not path.exists():
            found.append(f"docs/ARCHITECTURE.md: {file}:{function}: no such file")
        elif function not in {f for f, _, _ in functions(path)}:
            found.append(f"docs/ARCHITECTURE.md: {file}:{function}: no such function")
    return found


def principles(root):
    """Every rule of PRINCIPLES.md names a test that exists: `test/…/file` or `test/…/file:name`."""
    text = (root / "docs/PRINCIPLES.md").read_text()
    found = []
    rules = re.findall(r"^(\d+)\. (.*?)(?=^\d+\. |^#|\Z)", text, re.M | re.S)
    if [int(number) for number, _ in rules] != list(range(1, len(rules) + 1)):
        found.append("docs/PRINCIPLES.md: the rules are not numbered from 1 on")
    for number, rule in rules:
        tests = re.findall(r"`(test/[^`:]+)(?::([^`]+))?`", rule)
        if not tests:
            found.append(f"docs/PRINCIPLES.md: rule {number} names no test")
        for file, function in tests:
            path = root / file
            if not path.exists():
                found.append(f"docs/PRINCIPLES.md: rule {number}: {file}: no such file")
            elif function and not re.search(rf"\b{re.escape(function)}\b", path.read_text()):
                found.append(f"docs/PRINCIPLES.md: rule {number}: {file}: no test {function}")
    return found


def documented(directives, man):
    """Every directive heads an entry of the man page."""
    heads = set()
    for line in man.splitlines():
        if re.match(r"\.(B|BI|BR|IP|TP|It|SS|SH)\b", line):
            heads.update(re.findall(r"[a-z][a-z0-9-]+", line.replace(r"\-", "-")))
    return [f"man/weir.conf.5: no entry for '{d}'" for d in directives if d not in heads]


def regressions(root):
    """A file in test/regress is picked up by name, and opens with what went wrong."""
    found = []
    for path in sorted((root / "test/regress").glob("*")):
        if path.name in ("README.md", "__pycache__", "conftest.py", "CMakeLists.txt"):
            continue
        if not re.fullmatch(r"test_[a-z0-9_]+\.(c|py)", path.name):
            found.append(f"{name(root, path)}: is not named test_WHAT_WENT_WRONG.c or .py")
        elif not path.read_text().startswith(("//", "/*", "#", '"""')):
            found.append(f"{name(root, path)}: does not open with what went wrong")
    return found
