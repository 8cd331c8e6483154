"""Broken files end in samples or in one line: a few of the cases of `python -m tests.stress.fuzz_data`."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.stress import fuzz_data
from tests.stress.fuzz_data import OPERATIONS, Edit, Lair, drawn, main
from tests.support.valid_files import kinds


@pytest.fixture(scope="module")
def lair(tmp_path_factory: pytest.TempPathFactory) -> Lair:
    return Lair(tmp_path_factory.mktemp("lair"))


@pytest.mark.parametrize("name", kinds())
def test_a_whole_file_is_loaded(lair: Lair, name: str) -> None:
    assert lair.outcome(name, []) == "loaded"


@pytest.mark.parametrize("name", kinds())
def test_drawn_damage(lair: Lair, name: str) -> None:
    for n in range(15):
        lair.outcome(name, drawn(f"a few {n}"))


edits = st.builds(
    Edit,
    st.sampled_from(list(OPERATIONS)),
    st.integers(0, 2**12),
    st.binary(min_size=1, max_size=8),
)


@settings(max_examples=300)
@given(name=st.sampled_from(list(kinds())), changes=st.lists(edits, max_size=4))
def test_any_damage(lair: Lair, name: str, changes: list[Edit]) -> None:
    lair.outcome(name, changes)


sizes = st.integers(-2, 6) | st.integers() | st.booleans() | st.floats()
shapes = st.lists(sizes, max_size=5).map(tuple) | st.lists(sizes, max_size=3)
known = ["<f4", ">i2", "|b1", "|u1", "<f2", "<f8", "|O", "<U3", "<M8", "<c8", ()]
types = st.sampled_from(known) | st.text(max_size=4)
literals = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
)


@settings(max_examples=200)
@given(
    header=st.fixed_dictionaries(
        {"descr": types | literals, "fortran_order": st.booleans() | literals, "shape": shapes}
    ).map(repr)
    | literals.map(repr)
    | st.text(),
    claim=st.none() | st.integers(0, 2**16 - 1),
    body=st.binary(max_size=64),
)
def test_any_header_of_an_array(lair: Lair, header: str, claim: int | None, body: bytes) -> None:
    text = header.encode("utf-8", "surrogatepass")
    length = (len(text) if claim is None else claim).to_bytes(2, "little")
    lair.outcome_of("npy", b"\x93NUMPY\1\0" + length + text + body)


@settings(max_examples=100)
@given(
    sizes=st.lists(st.integers(0, 2**32 - 1) | st.just(28), min_size=3, max_size=3),
    body=st.binary(max_size=64),
)
@pytest.mark.parametrize("name", ["idx", "idx.gz, archive whole"])
def test_any_header_of_idx(lair: Lair, name: str, sizes: list[int], body: bytes) -> None:
    header = b"\0\0\x08\x03" + b"".join(size.to_bytes(4, "big") for size in sizes)
    lair.outcome_of(name, header + body)


def test_the_command_counts_what_the_cases_end_in(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--cases", "40"]) == 0
    assert "40 cases" in capsys.readouterr().out


def test_the_command_tells_of_a_defect(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(*_: object) -> str:
        raise ValueError("not the user's mistake")

    monkeypatch.setattr(fuzz_data, "outcome", failing)
    assert main(["--cases", "1"]) == 1
    assert "png, drawn('0 0'): ValueError: not the user's mistake" in capsys.readouterr().out
