"""A stranger's folder of configurations imports nothing, calls nothing and overwrites nothing."""
# ruff: noqa: E501 (tables keep each case on one line)

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import hydra
import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_search_path_impl import ConfigSearchPathImpl
from hydra.types import RunMode
from omegaconf import OmegaConf

from aeframe.cli.checked_loader import CheckedLoader
from aeframe.cli.hydra_keys import (
    LAUNCHERS,
    OWN_JOB,
    SAMPLERS,
    SWEEPERS,
    check_hydra,
    check_sweep,
    is_new_folder,
)
from aeframe.config.composition import CONF
from aeframe.core.errors import UserError
from tests.support.runs import TINY

Command = Callable[..., tuple[int, str, str]]
SPY = "import pathlib\npathlib.Path(__file__).with_name('owned').touch()\nclass Spy:\n  def __init__(self, *a, **k): pass\n"

BAD = {
    "a callback": "callbacks: {x: {_target_: spy.Spy}}",
    "a callback of torch's": "callbacks: {x: {_target_: torch.hub.load, repo_or_dir: spy}}",
    "another class for ours": "callbacks: {table: {_target_: spy.Spy}}",
    "more for ours": "callbacks: {table: {x: {_target_: spy.Spy}}}",
    "a callback elsewhere": "callbacks: '${evil}'",
    "a class elsewhere": "callbacks: {x: {_target_: '${name}'}}",
    "a launcher": "launcher: {_target_: spy.Spy}",
    "a launcher elsewhere": "launcher: '${evil}'",
    "a class in the launcher": "launcher: {x: {_target_: spy.Spy}}",
    "a sweeper": "sweeper: {_target_: spy.Spy}",
    "a class in the sweeper": "sweeper: {params: {seed: '${evil}'}}",
    "a call in the space": "sweeper: {search_space: {seed: {_target_: spy.Spy}}}",
    "a sweep over Hydra's keys": "sweeper: {params: {hydra.searchpath: '[pkg://spy]'}}",
    "a forced one": "sweeper: {params: {++hydra.searchpath: '[pkg://spy]'}}",
    "one with a space": "sweeper: {params: {' hydra.searchpath': '[pkg://spy]'}}",
    "one behind a value": "sweeper: {params: {'seed=1,hydra.x': '1'}}",
    "a handler": "job_logging: {handlers: {file: {class: spy.Spy}}}",
    "a handler's maker": "job_logging: {handlers: {file: {'()': spy.Spy}}}",
    "a handler of logging's": "job_logging: {handlers: {file: {class: logging.handlers.SocketHandler}}}",
    "a log file": "job_logging: {handlers: {file: {filename: precious}}}",
    "a log file that is cut": "job_logging: {handlers: {file: {mode: w}}}",
    "a log file of Hydra's": "hydra_logging: {handlers: {x: {class: logging.FileHandler, filename: precious}}}",
    "a stream": "job_logging: {handlers: {console: {stream: ext://spy.Spy}}}",
    "a level": "job_logging: {root: {level: ext://spy.Spy}}",
    "a level elsewhere": "hydra_logging: {root: {level: '${name}'}}",
    "a level of handlers": "job_logging: {loggers: {x: {level: cfg://evil}}}",
    "a name of a handler": "job_logging: {root: {handlers: ['ext://spy.Spy']}}",
    "a formatter": "job_logging: {formatters: {simple: {'()': spy.Spy}}}",
    "a formatter's class": "job_logging: {formatters: {simple: {class: spy.Spy}}}",
    "a format": "job_logging: {formatters: {simple: {format: 'ext://spy.Spy'}}}",
    "a filter": "job_logging: {filters: {x: {'()': spy.Spy}}}",
    "all of logging": "job_logging: '${evil}'",
    "the environment": "job: {env_set: {LD_PRELOAD: spy.so}}",
    "a copy of it": "job: {env_copy: [HOME]}",
    "another folder": "job: {chdir: true}",
    "a name with a path": "job: {name: ../precious}",
    "a name elsewhere": "job: {name: '${name}'}",
    "the name of another log": "job: {name: precious}",
    "Hydra's own folder": "output_subdir: ../owned",
    "the output folder": "runtime: {output_dir: precious}",
    "words": "overrides: {hydra: ['hydra.searchpath=[pkg://spy]']}",
    "words for ranks": "overrides: {task: ['--config-dir=x']}",
}  # fmt: skip
OPTUNA = {
    "a sampler": "sampler: {_target_: spy.Spy}",
    "a class in a sampler": "sampler: {x0: {_target_: spy.Spy}}",
    "a sampler elsewhere": "sampler: {seed: '${evil}'}",
    "a function": "custom_search_space: spy.Spy",
    "a storage": "storage: 'sqlite:///spy.db'",
    "a storage of a class": "storage: {_target_: spy.Spy}",
    "a part of a class": "sampler: {_partial_: true}",
}
SUBMITIT = {
    "a command": "setup: [touch owned]",
    "a script's line": 'partition: "a\\ntouch owned"',
    "a quote": "comment: a'b",
    "a substitution": "comment: $(touch owned)",
    "a line elsewhere": "partition: '${name}'",
    "the environment": "additional_parameters: {export: 'LD_PRELOAD=spy.so'}",
    "results from elsewhere": "submitit_folder: spy",
}
OPTUNAS = {
    "_target_": SWEEPERS["optuna"],
    "sampler": {"_target_": SAMPLERS["tpe"], "seed": None},
    "direction": "minimize",
    "storage": None,
    "params": None,
}
SUBMITITS = {
    "_target_": LAUNCHERS["submitit_slurm"],
    "submitit_folder": "${hydra.sweep.dir}/.submitit/%j",
    "name": "${hydra.job.name}",
    "partition": None,
    "setup": None,
    "additional_parameters": {},
}


@pytest.fixture(scope="module")
def own() -> dict[str, Any]:
    """The keys below `hydra` of aeframe's own configuration."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("config", return_hydra_config=True)
    found = OmegaConf.to_container(cfg.hydra, resolve=False, enum_to_str=True)
    assert isinstance(found, dict)
    return found  # type: ignore[return-value]


def merged(one: Any, other: Any) -> Any:
    """A mapping with another over it, as Hydra merges them."""
    if not (isinstance(one, dict) and isinstance(other, dict)):
        return other
    return {**one, **{key: merged(one.get(key), value) for key, value in other.items()}}


def refuse(node: dict[str, Any], words: Sequence[str] = ()) -> str:
    with pytest.raises(UserError) as refused:
        check_hydra(node, words)
    return str(refused.value)


def test_all_keys_of_hydra_and_aeframe_are_known(own: dict[str, Any]) -> None:
    check_hydra(own, [])
    check_sweep(own, [])
    assert own["sweep"]["subdir"] == OWN_JOB
    assert is_new_folder(own["run"]["dir"])
    for kind in ("hydra_logging", "job_logging"):
        for name in ("default", "stdout", "disabled", "none"):
            file = Path(hydra.__file__).parent / "conf" / "hydra" / kind / f"{name}.yaml"
            if file.exists():
                check_hydra({**own, kind: yaml.safe_load(file.read_text())}, [])


@pytest.mark.parametrize("kind", BAD)
def test_no_key_names_what_is_called(own: dict[str, Any], kind: str) -> None:
    said = yaml.safe_load(f"{{{BAD[kind]}}}")
    (section,) = said
    line = refuse(merged(own, said))
    assert line.startswith(f"hydra.{section}")
    assert "\n" not in line


@pytest.mark.parametrize("kind", OPTUNA)
def test_optuna_calls_its_samplers_alone(own: dict[str, Any], kind: str) -> None:
    check_hydra({**own, "sweeper": OPTUNAS}, [])
    said = yaml.safe_load(f"{{{OPTUNA[kind]}}}")
    line = refuse({**own, "sweeper": merged(OPTUNAS, said)})
    assert line.startswith(f"hydra.sweeper.{next(iter(said))}")


@pytest.mark.parametrize("kind", SUBMITIT)
def test_a_jobs_script_holds_no_commands_of_a_file(own: dict[str, Any], kind: str) -> None:
    check_hydra({**own, "launcher": SUBMITITS}, [])
    said = yaml.safe_load(f"{{{SUBMITIT[kind]}}}")
    line = refuse({**own, "launcher": merged(SUBMITITS, said)})
    assert line.startswith(f"hydra.launcher.{next(iter(said))}")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("dir", "theirs"),
        ("dir", "${run_folder:outputs,a,b}/../../theirs"),
        ("dir", "${run_folder:outputs,'{',b}/../../theirs}"),
        ("subdir", "/theirs"),
        ("subdir", "../theirs"),
        ("subdir", "a/.."),
        ("subdir", "${name}"),
        ("subdir", "${n${hydra.job.num}}"),
        ("subdir", "${hydra.job.override_dirname}"),  # whose separator a file may set
    ],
)
def test_a_file_names_no_folder_of_a_sweep(own: dict[str, Any], key: str, value: str) -> None:
    node = {**own, "sweep": {**own["sweep"], key: value}}
    with pytest.raises(UserError, match=f"hydra.sweep.{key}: may be set only on the command line"):
        check_sweep(node, [])
    quoted = value.replace("'", "\\'")
    check_sweep(node, [f"hydra.sweep.{key}='{quoted}'"])


@pytest.mark.parametrize("folder", ["jobs/${hydra.job.num}", "a.b-${hydra.job.id}", "..a/b"])
def test_a_jobs_folder_lies_in_the_sweeps(own: dict[str, Any], folder: str) -> None:
    check_sweep({**own, "sweep": {**own["sweep"], "subdir": folder}}, [])


@pytest.mark.parametrize(
    ("word", "launcher"),
    [
        ("hydra.launcher.setup=[module load cuda,'a b']", {"setup": ["module load cuda", "a b"]}),
        ('+hydra.launcher.partition="it\'s"', {"partition": "it's"}),
        (
            "hydra.launcher.additional_parameters={mail-type: BEGIN}",
            {"additional_parameters": {"mail-type": "BEGIN"}},
        ),
    ],
)
def test_typed_keys_are_the_users(own: dict[str, Any], word: str, launcher: dict[str, Any]) -> None:
    node = {**own, "launcher": merged(SUBMITITS, launcher)}
    check_hydra({**node, "overrides": {"hydra": [word]}}, [word])
    more = merged(node, {"launcher": {"additional_parameters": {"wrap": "touch owned"}}})
    where = "hydra.launcher.additional_parameters.wrap: may be set only"
    assert refuse({**more, "overrides": {"hydra": [word]}}, [word]).startswith(where)
    refuse(node)


# the command


@pytest.fixture
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of configurations, with a module that whoever imports it is seen to."""
    monkeypatch.syspath_prepend(tmp_path / "modules")
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "spy.py").write_text(SPY)
    (tmp_path / "precious").write_text("do not lose me")
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    return tmp_path / "mine"


def refused(aeframe: Command, stranger: Path, *words: str) -> str:
    """The one line that ends the command, which has done nothing."""
    status, out, err = aeframe("--config-dir", str(stranger), *TINY, *words)
    root = stranger.parent
    assert (status, out) == (2, ""), err
    assert err.count("\n") == 1, err
    line = err.strip()
    assert "spy" not in sys.modules
    assert (root / "precious").read_text() == "do not lose me"
    assert {path.name for path in root.iterdir()} <= {"mine", "modules", "precious", "outputs"}
    assert not any(path.is_file() for path in (root / "outputs").rglob("*"))
    return line


def write(stranger: Path, hydra: str, name: str = "x", package: str = "_global_") -> None:
    text = f"# @package {package}\nevil: {{_target_: spy.Spy}}\nname: ext://spy.Spy\nhydra: {{{hydra}}}\n"
    (stranger / "experiment" / f"{name}.yaml").write_text(text)


@pytest.mark.parametrize("how", [(), ("-m", "seed=1,2")], ids=["run", "sweep"])
@pytest.mark.parametrize("kind", ["a callback of torch's", "a log file", "a level", "words"])
def test_an_experiment_names_nothing_that_is_called(
    aeframe: Command, stranger: Path, kind: str, how: tuple[str, ...]
) -> None:
    write(stranger, BAD[kind])
    assert refused(aeframe, stranger, "experiment=x", *how).startswith("aeframe: hydra.")


def test_nor_does_one_of_a_sweeps_jobs(aeframe: Command, stranger: Path) -> None:
    write(stranger, BAD["the environment"])
    write(stranger, "help: {app_name: good}", "y")
    line = refused(aeframe, stranger, "-m", "experiment=y,x")
    assert line.startswith("aeframe: hydra.job.env_set: must not set environment variables.")


def test_an_experiment_that_is_a_sweep_has_no_folder_of_its_own_choice(
    aeframe: Command, stranger: Path
) -> None:
    line = "aeframe: hydra.sweep.subdir: may be set only on the command line."
    write(
        stranger, f"sweep: {{subdir: {stranger}}}, mode: MULTIRUN, sweeper: {{params: {{seed: 1}}}}"
    )
    assert refused(aeframe, stranger, "experiment=x").startswith(line)
    write(stranger, f"sweep: {{subdir: {stranger}}}")
    write(stranger, "help: {app_name: good}", "y")
    assert refused(aeframe, stranger, "-m", "experiment=y,x").startswith(line)  # of a job's


def test_a_folder_of_jobs_that_was_typed_is_the_users(aeframe: Command, tmp_path: Path) -> None:
    words = (
        "-m",
        "seed=1",
        *TINY,
        "hydra.sweep.dir=sweep",
        "hydra.sweep.subdir=../${hydra.job.num}x",
    )
    assert aeframe(*words)[0] == 0
    assert (tmp_path / "0x" / ".hydra").is_dir()


def test_no_run_is_written_through_links_of_a_stranger(aeframe: Command, stranger: Path) -> None:
    (stranger / "run").mkdir()
    (stranger / "run" / "train.log").symlink_to(stranger.parent / "precious")
    new = f"${{run_folder:{stranger},a,b}}"
    write(stranger, f"run: {{dir: '{new}/../run'}}")
    status, _, err = aeframe("--config-dir", str(stranger), *TINY, "experiment=x")
    assert status == 2
    assert "train.log: is a link" in err
    assert (stranger.parent / "precious").read_text() == "do not lose me"


def test_nothing_is_called_to_show_it(aeframe: Command, stranger: Path) -> None:
    write(stranger, BAD["a level"])
    assert "root.level: a file may set only levels and formats of logging" in refused(
        aeframe, stranger, "experiment=x", "--cfg=hydra"
    )


def test_groups_of_hydras_are_looked_at(aeframe: Command, stranger: Path) -> None:
    (stranger / "hydra" / "callbacks").mkdir(parents=True)
    (stranger / "hydra" / "callbacks" / "x.yaml").write_text("x: {_target_: spy.Spy}\n")
    assert "hydra.callbacks.x: " in refused(aeframe, stranger, "hydra/callbacks=x")


@pytest.mark.parametrize("place", ["pkg://spy", "file:///elsewhere"])
def test_no_package_is_imported_to_look_for_files(
    aeframe: Command, stranger: Path, place: str
) -> None:
    text = f"defaults: [config, _self_]\nhydra: ${{there}}\nthere: {{searchpath: ['{place}']}}\n"
    (stranger / "theirs.yaml").write_text(text)
    line = refused(aeframe, stranger, "--config-name", "theirs", "-m", "seed=1,2")
    assert line.startswith("aeframe: hydra.searchpath: may be set only on the command line.")


def test_a_key_that_hydra_does_not_know_is_told(aeframe: Command, stranger: Path) -> None:
    write(stranger, "launcher: {jobs: 2}")
    line = refused(aeframe, stranger, "experiment=x")
    assert line.startswith(
        "aeframe: experiment/x.yaml: hydra.launcher.jobs cannot be set this way ("
    )


def test_jobs_are_checked_in_processes_of_their_own() -> None:
    """Launchers take along the loader, by the name of its class."""
    path = ConfigSearchPathImpl()
    path.append("hydra", "pkg://hydra.conf")
    path.append("main", str(CONF))
    path.append("schema", "structured://")
    loader = pickle.loads(pickle.dumps(CheckedLoader(ConfigLoaderImpl(path))))
    with pytest.raises(UserError, match=r"hydra\.job\.chdir"):
        loader.load_configuration("config", ["hydra.job.chdir=true"], RunMode.RUN)
