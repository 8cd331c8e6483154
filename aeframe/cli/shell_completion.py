"""Scripts with which a shell completes verbs, options, files and folders."""

from __future__ import annotations

from argparse import Action
from typing import Any

from aeframe.cli.completion import FLAG
from aeframe.cli.verbs import VERBS
from aeframe.cli.verbs.verb import Parser, add_plugin

SHELLS = ("bash", "zsh")

BASH = """\
# aeframe: eval "$(aeframe --completion bash)"
_aeframe() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" verb="${{COMP_WORDS[1]}}"
    COMPREPLY=()
    if [[ $COMP_CWORD -eq 1 ]]; then
        COMPREPLY=($(compgen -W "{verbs} --help --version --completion" -- "$word"))
        return
    fi
    case "$verb" in
        train)
            _aeframe_train
            ;;
{cases}
    esac
}}
_aeframe_train() {{
    local IFS=$'\\n' typed="${{COMP_LINE:0:$COMP_POINT}}" i
    typed="${{typed##* }}"
    COMPREPLY=($(aeframe train {flag} "$COMP_LINE" "$COMP_POINT" 2>/dev/null))
    case "${{COMPREPLY[0]}}" in
        *[=.] | *\\[*) compopt -o nospace 2>/dev/null ;;
    esac
    # bash inserts the completion after the last = of the word
    if [[ "$COMP_WORDBREAKS" == *=* && "$typed" == *=* ]]; then
        for i in "${{!COMPREPLY[@]}}"; do
            COMPREPLY[i]="${{COMPREPLY[i]#"${{typed%=*}}="}}"
        done
    fi
}}
complete -o default {own}-F _aeframe aeframe
"""
CASE = """\
        {name})
            [[ $word == -* ]] && COMPREPLY=($(compgen -W "{options}" -- "$word"))
            ;;"""

ZSH = """\
# aeframe: eval "$(aeframe --completion zsh)"
autoload -Uz compinit && (( $+functions[compdef] )) || compinit
autoload -Uz bashcompinit && bashcompinit
"""


def write_script(shell: str) -> str:
    """Write the script that the shell evaluates."""
    cases = [CASE.format(name=name, options=" ".join(list_options(name))) for name in VERBS]
    verbs = " ".join(["train", *VERBS])
    own = "-o nospace " if shell == "zsh" else ""  # zsh has no compopt to decide it each time
    text = BASH.format(verbs=verbs, cases="\n".join(cases), flag=FLAG, own=own)
    return text if shell == "bash" else f"{ZSH}{text}"


def list_options(name: str) -> list[str]:
    """List the options of a verb."""
    parser = _Recorder(f"aeframe {name}")
    VERBS[name].arguments(parser)
    add_plugin(parser)
    return parser.options


class _Recorder(Parser):
    """Parser that keeps the long names of its options."""

    def __init__(self, prog: str) -> None:
        self.options: list[str] = []
        super().__init__(prog)

    def add_argument(self, *names: str, **settings: Any) -> Action:
        action = super().add_argument(*names, **settings)
        self.options += [name for name in action.option_strings if name.startswith("--")]
        return action
