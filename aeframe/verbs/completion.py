"""What a shell needs to complete verbs, options, files and folders."""

from __future__ import annotations

from aeframe.verbs import VERBS
from aeframe.verbs.base import Parser

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
            COMPREPLY=($(COMP_LINE="${{COMP_LINE/ train/}}" \\
                aeframe train --shell-completion query=bash))
            compopt -o nospace 2>/dev/null
            ;;
{cases}
    esac
}}
complete -o default -F _aeframe aeframe
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


def script(shell: str) -> str:
    """What the shell is to evaluate."""
    cases = [CASE.format(name=name, options=" ".join(options(name))) for name in VERBS]
    bash = BASH.format(verbs=" ".join(["train", *VERBS]), cases="\n".join(cases))
    return bash if shell == "bash" else f"{ZSH}{bash}"


def options(name: str) -> list[str]:
    """The options of a verb."""
    parser = Parser(f"aeframe {name}")
    VERBS[name].arguments(parser)
    return [
        word for action in parser._actions for word in action.option_strings if word[:2] == "--"
    ]
