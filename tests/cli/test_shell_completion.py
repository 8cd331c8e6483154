"""Completion of the command in bash."""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
import sys
from pathlib import Path

from aeframe.cli.shell_completion import list_options, write_script
from tests.support.runs import (
    ROOT,
)


def test_bash_completes_verbs_options_and_what_train_takes(tmp_path: Path) -> None:
    (tmp_path / "aeframe").write_text(f'#!/bin/sh\nexec {sys.executable} -m aeframe "$@"\n')
    (tmp_path / "aeframe").chmod(0o755)
    ask = r"""
complete_line() {  # divided at = as bash itself divides it
    COMP_LINE="$1" COMP_POINT=${#1}; read -ra COMP_WORDS <<< "${1//=/ = }"
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _aeframe; echo "${COMPREPLY[*]}"
}
complete_line "aeframe enc"
complete_line "aeframe encode --ou"
complete_line "aeframe encode my_im"
complete_line "aeframe train model=s"
complete_line "aeframe train constraint=[l1,top"
complete_line "aeframe train -m model=sparse,den"
complete_line "aeframe train dataset=mnist dataset.r"
complete_line "aeframe train dataset.root=da"
COMP_WORDBREAKS=" "
complete_line "aeframe train model=s"
"""
    done = subprocess.run(
        ["bash", "-c", write_script("bash") + ask],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [
        *("encode", "--out", "", "sparse", "[l1,topk", "sparse,denoising", "dataset.root=", ""),
        "model=sparse",
    ]
    assert "bashcompinit" in write_script("zsh")
    assert "--percentile" in list_options("score")


def test_a_person_who_presses_tab_gets_the_word(tmp_path: Path) -> None:
    ask = f'exec {sys.executable} -m aeframe "$@"'
    (tmp_path / "aeframe").write_text(
        f'#!/bin/sh\ncase "$*" in *--complete*) {ask};; esac\necho "<$*>"\n'
    )
    (tmp_path / "aeframe").chmod(0o755)
    (tmp_path / "rc").write_text(f"PS1=; bind 'set bell-style none'\n{write_script('bash')}")
    path = f"{tmp_path}:{os.environ['PATH']}"
    terminal, shell = pty.openpty()
    with subprocess.Popen(
        ["bash", "--noprofile", "--rcfile", str(tmp_path / "rc"), "-i"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PATH": path, "TERM": "dumb"},
        stdin=shell,
        stdout=shell,
        stderr=shell,
        start_new_session=True,
    ):
        os.close(shell)
        os.write(terminal, b"aeframe trai\tmodel=sp\t\naeframe train trainer.max_ep\t3\nexit\n")
        seen = b""
        with contextlib.suppress(OSError):  # when bash has ended
            while part := os.read(terminal, 4096):
                seen += part
        os.close(terminal)
    assert b"<train model=sparse>" in seen
    assert b"<train trainer.max_epochs=3>" in seen
