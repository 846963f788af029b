"""The documents keep their word: their examples give what they print, and what they point to exists."""

import doctest
import importlib.util
import inspect
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from sklearn.neural_network import MLPClassifier

import skbce

ROOT = Path(__file__).parents[1]
PACKAGE = Path(skbce.__file__).parent  # as it is installed, which may be elsewhere
README = ROOT / "README.md"
DOCS = sorted(ROOT.glob("docs/*.md"))
DIFFERENCES = ROOT / "docs" / "differences.md"
WATCHING = ROOT / "docs" / "watching.md"
SCALE_OUT = ROOT / "docs" / "scale-out.md"
LINKED = [README, *DOCS, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]

# A fenced block, told by its first line; it may be indented, in a list say.
BLOCK = re.compile(r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<code>.*?)^(?P=indent)``` *$", re.M | re.S)
PYTHON = {"python", "pycon", "py"}

# [text](target), ![image](target) and the lines [label]: target
LINK = re.compile(r"\]\(<?([^)\s>]+)>?(?: \"[^\"]*\")?\)|^\[[^\]]+\]: (\S+)", re.M)

# `file` or `file: name`
REFERENCE = re.compile(r"`(?P<file>[\w./-]+\.(?:py|pyx|pxd|toml))(?:: (?P<name>[\w.]+))?`")


@dataclass
class Block:
    """A piece of Python in a document, and the line it begins on."""

    line: int
    code: str


def python_blocks(text):
    blocks = []
    for match in BLOCK.finditer(text):
        if match["language"] in PYTHON:
            code = "".join(line.removeprefix(match["indent"]) for line in match["code"].splitlines(keepends=True))
            blocks.append(Block(text[: match.start("code")].count("\n") + 1, code))
    return blocks


def failures(block, name, namespace):
    """What went wrong in a block. A block with prompts is held to the output it shows; another one runs."""
    if ">>>" not in block.code:
        exec(compile("\n" * (block.line - 1) + block.code, name, "exec"), namespace)
        return []
    test = doctest.DocTestParser().get_doctest(block.code, {}, name, name, block.line - 1)
    test.globs = namespace  # a DocTest would copy it, and the next block has to see what this one named
    messages = []
    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=messages.append, clear_globs=False)
    return messages


def prose(text):
    """The text without blocks and inline code."""
    return re.sub(r"`[^`\n]*`", "", BLOCK.sub("", text))


def anchors(text):
    """The names that GitHub gives to the headings."""
    headings = re.findall(r"^#+ (.*)$", BLOCK.sub("", text), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


def name_of(path):
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", [README, *DOCS], ids=name_of)
def test_examples_give_what_the_document_prints(path, tmp_path, monkeypatch):
    if path == DIFFERENCES and "sample_weight" not in inspect.signature(MLPClassifier.fit).parameters:
        pytest.skip("the page gives MLPClassifier a sample_weight, which it takes from scikit-learn 1.7 on")
    if path == WATCHING and importlib.util.find_spec("sklearn.callback") is None:
        pytest.skip("the page imports sklearn.callback, which is in scikit-learn from 1.9 on")
    if path == SCALE_OUT and importlib.util.find_spec("distributed") is None:
        pytest.skip("the page starts a Dask cluster, and the optional extra dask is not installed here")
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "__main__"}
    messages = []
    for block in python_blocks(path.read_text(encoding="utf-8")):
        messages += failures(block, name_of(path), namespace)
    assert not messages, "\n".join(messages)


@pytest.mark.parametrize("path", [README, *DOCS], ids=name_of)
def test_every_python_fence_is_found(path):
    text = path.read_text(encoding="utf-8")
    fences = re.findall(r"^ *```(\w+)", text, re.M)
    assert len(python_blocks(text)) == sum(language in PYTHON for language in fences)


@pytest.mark.parametrize(
    ("code", "n_failures"),
    [
        (">>> 1 + 1\n2\n", 0),
        (">>> 1 + 1\n3\n", 1),
        (">>> x = 1\n\nMore.\n\n>>> x\n2\n>>> 1 / 0\n", 2),
        ("x = 1\n", 0),
    ],
    ids=["right", "wrong", "wrong and raising", "without prompts"],
)
def test_a_broken_example_is_noticed(code, n_failures):
    assert len(failures(Block(1, code), "example", {})) == n_failures


def test_a_block_sees_the_names_of_the_one_before():
    namespace = {}
    found = [
        failures(Block(1, code), "example", namespace) for code in ("x = 1\n", ">>> y = x + 1\n", "assert y == 2\n")
    ]
    assert found == [[], [], []]


def test_an_example_without_prompts_that_raises_is_noticed():
    with pytest.raises(ZeroDivisionError):
        failures(Block(1, "1 / 0\n"), "example", {})


@pytest.mark.parametrize("path", LINKED, ids=name_of)
def test_relative_links_point_to_files_and_headings_that_exist(path):
    text = path.read_text(encoding="utf-8")
    broken = []
    for match in LINK.finditer(prose(text)):
        target = match[1] or match[2]
        if re.match(r"[a-z]+:", target):
            continue
        file, _, heading = target.partition("#")
        linked = path.parent / file if file else path
        if not linked.exists() or (
            heading and linked.suffix == ".md" and heading not in anchors(linked.read_text(encoding="utf-8"))
        ):
            broken.append(target)
    assert not broken


@pytest.mark.parametrize("path", [*DOCS, ROOT / "CONTRIBUTING.md"], ids=name_of)
def test_files_and_functions_named_in_the_text_exist(path):
    missing = []
    for match in REFERENCE.finditer(BLOCK.sub("", path.read_text(encoding="utf-8"))):
        candidates = [base / match["file"] for base in (ROOT, PACKAGE.parent, PACKAGE, PACKAGE / "kernels")]
        found = [candidate for candidate in candidates if candidate.is_file()]
        name = (match["name"] or "").rpartition(".")[2]
        defined = rf"\b(?:def|cdef|class|enum|struct)\b[^\n]*\b{name}\b|^{name} *[:=]"
        if not found or (name and not re.search(defined, found[0].read_text(encoding="utf-8"), re.M)):
            missing.append(match[0])
    assert not missing


def test_architecture_has_a_word_on_every_module():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    modules = [
        path
        for suffix in ("py", "pyx", "pxd")
        for path in PACKAGE.rglob(f"*.{suffix}")
        if path.name not in ("__init__.py", "_version.py")
    ]
    assert [path.name for path in modules if f"`{path.relative_to(PACKAGE).as_posix()}`" not in text] == []
