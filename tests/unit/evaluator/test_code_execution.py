"""Code of answers, run with tests: what passes, what does not, and what it may not do."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tuneforge.errors import ConfigError
from tuneforge.evaluation.execution import sandbox
from tuneforge.evaluation.execution.answers import block
from tuneforge.evaluator.code_execution import FAILURES, CodeExecution
from tuneforge.rows import Answer, Row

TESTS = ["assert add(1, 2) == 3", "assert add(-1, 1) == 0"]
RIGHT = "def add(a, b):\n    return a + b\n"
SECONDS = 5.0
HOME = Path.home()


@pytest.fixture(params=["namespaces", "alone"], scope="module")
def kept_apart(request: pytest.FixtureRequest) -> Iterator[str]:
    """With what the machine offers, and as on one that offers no namespaces."""
    if request.param == "namespaces" and not sandbox.namespaces():
        pytest.skip("this machine allows no user namespaces")
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "alone":
            patch.setattr(sandbox, "namespaces", tuple)
        yield str(request.param)


def row(tests: Any = TESTS, **fields: Any) -> Row:
    return Row(columns={"prompt": "q"}, source="test.x", file="a.jsonl", line=3, fields={"tests": tests, **fields})


def ends(code: str, tests: list[str] = TESTS, seconds: float = SECONDS, setup: str = "") -> sandbox.Outcome:
    return sandbox.run(sandbox.Program(code, tests, setup), seconds, 256)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (RIGHT, "pass"),
        (
            "from __future__ import annotations\nimport math, re, json, dataclasses, collections, asyncio\n" + RIGHT,
            "pass",
        ),
        ("open('mine', 'w').write('x' * 1000)\nassert open('mine').read()\n" + RIGHT, "pass"),
        ("print('x' * 10**7)\n" + RIGHT, "pass"),
        ("def add(a, b):\n    return 3", "wrong"),
        ("def add(a, b) return a", "syntax"),
        ("\0", "syntax"),
        ("def sum(a, b):\n    return a + b", "error"),
        ("", "error"),
        ("assert False\n" + RIGHT, "error"),
    ],
)
def test_how_code_ends(code: str, kind: str) -> None:
    assert ends(code).kind == kind


SPOILS = {
    "leaves with 0": "import sys\ndef add(a, b): sys.exit(0)",
    "leaves at once": "raise SystemExit(0)",
    "is gone": "import os\ndef add(a, b): os._exit(0)",
    "prints a mark": "print('pass'); print('[\"\", \"pass\", \"\", true]')\ndef add(a, b): return 0",
    "writes to every descriptor": (
        "import os\nfor fd in range(3, 64):\n    try: os.write(fd, b'[\"\", \"pass\", \"\", true]')\n"
        "    except OSError: pass\nos._exit(0)"
    ),
    "has its own AssertionError": (
        "import builtins\nclass AssertionError(SystemExit): pass\nbuiltins.AssertionError = AssertionError\n"
        "def add(a, b): return 0"
    ),
    "swallows": (
        "import sys, atexit, os\nsys.excepthook = lambda *a: None\natexit.register(os._exit, 0)\n"
        "def add(a, b): return 0"
    ),
    "takes the ways out": "import os, json\nos._exit = os.write = json.dumps = print\ndef add(a, b): return 0",
    "crashes": "import os\ndef add(a, b): os.abort()",
    "eats memory": "def add(a, b): return len('x' * 10**10)",
    "eats memory slowly": "kept = []\nwhile True: kept.append('x' * 10**6 + str(len(kept)))",
    "asks": "a = input()\ndef add(a, b): return 0",
    "writes much": "f = open('big', 'w')\nwhile True: f.write('x' * 10**6)",
    "opens much": "for i in range(10**6): open(str(i), 'w').close()",
    "forks": "import os\nwhile True: os.fork()",
    "forks by subprocess": "import subprocess\nsubprocess.Popen(['sleep', '60'])",
    "forks by a pool": "import multiprocessing\nmultiprocessing.Process(target=print).start()",
    "forks by C": "import ctypes\nctypes.CDLL(None).fork()",
    "shells": "import os\nos.system('true')",
    "starts a thread": "import threading\nthreading.Thread(target=print).start()",
    "connects": "import socket\nsocket.create_connection(('127.0.0.1', 80), 1)",
    "fetches": "import urllib.request\nurllib.request.urlopen('http://127.0.0.1')",
    "kills": "import os\nos.kill(os.getppid(), 9)",
    "kills its group": "import os\nos.killpg(0, 9)",
    "raises its limits": "import resource\nresource.setrlimit(resource.RLIMIT_AS, (-1, -1))",
    "reads the machine": "open('/etc/passwd').read()",
    "reads its parent": "import os\nopen(f'/proc/{os.getppid()}/environ').read()",
    "reads its maker's folder": f"open({str(Path(__file__))!r}).read()",
    "removes": "import os\nos.remove('../result')",
}  # fmt: skip


@pytest.fixture(scope="module")
def spoiled(kept_apart: str) -> dict[str, sandbox.Outcome]:
    added = "\nadd = globals().get('add') or (lambda a, b: a + b)"
    programs = [sandbox.Program(code + added, TESTS) for code in SPOILS.values()]
    return dict(zip(SPOILS, sandbox.run_all(programs, SECONDS, 256), strict=True))


@pytest.mark.parametrize("spoils", SPOILS)
def test_no_spoiling_passes(spoils: str, spoiled: dict[str, sandbox.Outcome]) -> None:
    found = spoiled[spoils]
    assert found.kind in ("error", "wrong"), found
    assert found.detail


def test_a_loop_ends_in_time_and_nothing_is_left(kept_apart: str) -> None:
    before = time.monotonic()
    assert ends("while True: pass", seconds=0.5).kind == "timeout"
    assert ends("import time\ntry: time.sleep(60)\nfinally:\n    while True: pass", seconds=0.5).kind == "timeout"
    assert time.monotonic() - before < 20
    assert gone(str(sandbox.INSIDE))


def test_home_stays_as_it_is_and_no_secret_is_seen(kept_apart: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_TOKEN", "s3cret")
    mark = HOME / f".tuneforge-test-{os.getpid()}"
    assert ends(f"open({str(mark)!r}, 'w').write('x')\n" + RIGHT).detail.startswith("PermissionError")
    assert ends(f"import os\nos.mkdir({str(mark)!r})\n" + RIGHT).kind == "error"
    assert not mark.exists()
    assert (
        ends("import os", ["assert not [k for k in os.environ if 'TOKEN' in k]", "assert len(os.environ) < 9"]).kind
        == "pass"
    )
    assert ends("import os", ["assert os.path.expanduser('~') == os.getcwd()"]).kind == "pass"


@pytest.mark.parametrize("kept_apart", ["namespaces"], indirect=True)
def test_a_daemon_ends_with_its_namespace(kept_apart: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even one that got past every hook, into a session of its own."""
    mark = str(61 + os.getpid())
    inside = tmp_path / "inside.py"
    inside.write_text(f"import subprocess\nsubprocess.Popen(['/bin/sleep', '{mark}'], start_new_session=True)\n")
    monkeypatch.setattr(sandbox, "INSIDE", inside)
    assert ends(RIGHT).kind == "error"
    assert gone(f"sleep {mark}")


def gone(text: str) -> bool:
    """Whether no process has the text in its command line; the kernel may take a while to clear away the killed."""
    for _ in range(100):
        if not any(text in line for line in running()):
            return True
        time.sleep(0.1)
    return False


def running() -> Iterator[str]:
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            yield file.read_bytes().replace(b"\0", b" ").decode(errors="replace")


def test_the_kernel_keeps_files_apart_where_python_does_not(tmp_path: Path) -> None:
    if not ends(RIGHT).confined:
        pytest.skip("this kernel has no Landlock")
    program = tmp_path / "alone.py"
    program.write_text(
        "import os, runpy, sys\n"
        f"inside = runpy.run_path({str(sandbox.INSIDE)!r})\n"
        "os.chdir(sys.argv[1])\n"
        "assert inside['landlock']([p for p in sys.path if os.path.exists(p)], os.getcwd())\n"
        "open('mine', 'w').write('x')\n"
        "for path, how in ((sys.argv[2], 'w'), ('/etc/passwd', 'r'), ('../alone.py', 'r')):\n"
        "    try: open(path, how)\n"
        "    except PermissionError: print('refused')\n"
        "try: os.execv('/bin/true', ['true'])\n"
        "except PermissionError: print('refused')\n"
    )
    (tmp_path / "work").mkdir()
    done = subprocess.run(
        [sys.executable, "-S", "-P", str(program), str(tmp_path / "work"), str(HOME / ".tuneforge-test")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == ["refused"] * 4


def test_equal_code_ends_equally() -> None:
    code = "def add(a, b): return 3 if list({'a', 'b', 'c'})[0] == 'a' else 4"
    assert len({ends(code).kind for _ in range(4)}) == 1


def test_setup_comes_first() -> None:
    evaluator = CodeExecution(allow=True, tests="test_list", setup="imports", timeout=SECONDS)
    fields = {"test_list": "assert area(2) == math.pi * 4\nassert area(0) == 0", "imports": "import math"}
    code = Answer("Here:\n```python\ndef area(r):\n    return math.pi * r * r\n```\nDone.")
    assert evaluator.score(row(**fields), code)["code_execution"] == 1
    assert CodeExecution(allow=True, tests="test_list").score(row(**fields), code)["error"] == 1


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("a = 1", "a = 1"),
        ("```\na\n```\n```py\nb\n```", "b\n"),
        ("```bash\npip\n```", "pip\n"),
        ("So:\n```Python\nd = '`'\nb\n", "d = '`'\nb\n"),
        ("```python title=x\na\n```", "a\n"),
    ],
)
def test_the_code_of_an_answer(answer: str, code: str) -> None:
    assert block(answer, ("python", "py")) == code


class Says:
    """An LM with written answers."""

    variant = "base"

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)

    def generate(self, rows: list[Row], max_tokens: int) -> list[Answer]:
        return self.answers


class Notes:
    def __init__(self) -> None:
        self.texts: list[str] = []

    def note(self, text: str) -> None:
        self.texts.append(text)

    def progress(self, items: Any, text: str) -> Any:
        return items


def test_why_not_is_counted_and_said() -> None:
    answers = [
        Answer(RIGHT),
        Answer("def"),
        Answer("def add(a, b): return 3"),
        Answer("x"),
        Answer(RIGHT, error="no room"),
    ]
    notes = Notes()
    evaluator = CodeExecution(allow=True, timeout=SECONDS)
    found = list(evaluator.measure(Says(*answers), [row()] * 5, notes))  # type: ignore[arg-type]
    assert [next(k for k in ("code_execution", *FAILURES) if one[k]) for one in found] == [
        "code_execution", "syntax", "wrong", "error", "error",
    ]  # fmt: skip
    assert all(sum(one.values()) == 1 for one in found)
    assert notes.texts[0] == (
        "code_execution: base: 1 of 5 pass; 2 error (first a.jsonl:3: NameError: name 'x' is not defined); 1 syntax"
        " (first a.jsonl:3: SyntaxError: invalid syntax (answer, line 1)); 1 wrong (first a.jsonl:3: AssertionError)"
    )


def test_what_code_says_steers_no_terminal() -> None:
    notes = Notes()
    steering = Answer("raise ValueError('\\x1b[2J\\n  note       all pass' + 'x' * 999)")
    list(CodeExecution(allow=True, timeout=SECONDS).measure(Says(steering), [row()], notes))  # type: ignore[arg-type]
    assert notes.texts[0].startswith("code_execution: base: 0 of 1 pass; 1 error (first a.jsonl:3: ValueError:  [2J ")
    assert notes.texts[0].isprintable()
    assert len(notes.texts[0]) < 300


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (row(["assert add(1"]), r"a.jsonl:3: tests cannot be compiled: .*'assert add\(1'"),
        (row([""]), "a.jsonl:3: tests holds no statement: everything would pass"),
        (row([]), "a.jsonl:3: tests must be a text of Python or a list of them, not '\\[\\]'"),
        (row([1]), "must be a text of Python"),
        (
            Row(columns={"prompt": "q"}, source="test.x", fields={"test": 1}),
            "no row has a kept column 'tests' .*Did you",
        ),
    ],
)
def test_tests_that_are_none_are_refused_before_anything_is_asked(one: Row, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        list(CodeExecution(allow=True).measure(None, [one], None))  # type: ignore[arg-type]


def test_nothing_is_run_that_nobody_allowed() -> None:
    assert [r for r in CodeExecution().check(None) if "allow=true permits it" in r]  # type: ignore[arg-type]
    assert not list(CodeExecution(allow=True).check(None))  # type: ignore[arg-type]
    assert list(CodeExecution(allow=True, timeout=0).check(None))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="allow=false"):
        CodeExecution().score(row(), Answer(RIGHT))
