r"""The README's tables of results, from runs of the present code.

python -m tests.readme_results --data FOLDER --out outputs/results
python -m tests.readme_results --data FOLDER --photos FOLDER --out outputs/results results codes photos

FOLDER of --data has MNIST in torchvision's layout, that of --photos the Kodak images as 01.png to 24.png.
A run that is in --out already is not trained again. On two idle cores the results take a quarter of an hour,
the codes half an hour, the photographs twenty minutes.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).parents[1]
Card = dict[str, Any]


def _copied(card: Card) -> str:
    return f"noise is reconstructed {card['copy_check']['ratio']:.1f} times worse than data"


def _denoised(card: Card) -> str:
    m = card["metrics"]
    pca = list(card["baselines"].values())[-1]["denoised_psnr"]
    return (
        f"from the corrupted input {m['denoised_psnr']:.1f} dB (PCA {pca:.1f}), "
        f"a gain of {m['gain_db']:.1f} dB"
    )


def _dormant(card: Card) -> str:
    m = card["metrics"]
    return f"{m['dormant']:.1%} of the units dormant, {m['dead']:.0%} dead"


def _likely(card: Card) -> str:
    m, images = card["metrics"], card["images"]
    samples = 100
    return (
        f"-ELBO {m['negative_elbo']:.1f} nats, NLL {m['nll']:.1f} ± {m['nll_standard_error']:.1f} nats "
        f"({images} images, {samples} samples)"
    )


def _per_image(card: Card) -> str:
    paper = "the paper's 3.00"
    return f"squared error per image {784 * card['metrics']['mse']:.2f}; {paper}"


MNIST = ("dataset=mnist", "trainer.max_epochs=10")
RESULTS: dict[str, tuple[tuple[str, ...], Callable[[Card], str]]] = {
    "`undercomplete`, 16 units": (("model=undercomplete", *MNIST), _copied),
    "`denoising`, 64 units, a quarter masked": (("model=denoising", *MNIST), _denoised),
    "`sparse`, 16 of 1024 units": (("model=sparse", *MNIST), _dormant),
    "`vae_mnist`, 20 units": (("experiment=vae_mnist",), _likely),
    "`hinton_2006`, 30 units, 30 epochs": (("experiment=hinton_2006",), _per_image),
}
"""Each row of the README's table: its command, and what its last column says."""
WEIGHTS = (0.08, 0.03, 0.012, 0.004)
"""Weights of experiment=compress_mnist, from coarse to fine."""
LEVELS = (21.0, 23.0, 25.0)  # dB at which the README compares
STEPS = {
    0.16: ("constraint.rate.weight=0.00213",),
    0.28: (
        "constraint.rate.weight=0.00653",
        "trainer.max_epochs=8",
        "scheduler.total_steps=1504",
    ),
    0.40: ("constraint.rate.weight=0.01333",),
}
"""Steps of experiment=compress_photos, from fine to coarse, with their other words."""


def trained(folder: Path, *words: str) -> Path:
    """Train into a folder that does not hold the finished run yet."""
    if not (folder / "evaluation.json").exists():
        command = [sys.executable, "train.py", *words, f"hydra.run.dir={folder}", "resume=auto"]
        print(f"training {folder.name} ...", file=sys.stderr, flush=True)
        subprocess.run(command, cwd=CHECKOUT, check=True, stdout=subprocess.DEVNULL)
    return folder


def results(options: argparse.Namespace) -> None:
    """Print the table of the section Results."""
    print("| run | MSE per pixel | PSNR (dB) | mean image | PCA | and |")
    print("|---|---|---|---|---|---|")
    for name, (words, told) in RESULTS.items():
        place = options.out / words[0].partition("=")[2]
        run = trained(place, *words, f"dataset.root={options.data}")
        card = json.loads((run / "evaluation.json").read_text())
        errors = [f"{baseline['mse']:.4f}" for baseline in card["baselines"].values()]
        m = card["metrics"]
        print(
            "|", " | ".join((name, f"{m['mse']:.4f}", f"{m['psnr']:.1f}", *errors, told(card))), "|"
        )


def codes(options: argparse.Namespace) -> None:
    """Print how many times as many bytes other formats take on MNIST's test images."""
    runs = [
        trained(
            options.out / f"mnist_{weight}",
            "experiment=compress_mnist",
            f"constraint.rate.weight={weight}",
            f"dataset.root={options.data}",
        )
        for weight in WEIGHTS
    ]
    found = compared(options.out / "rd_mnist", runs)
    for row in matched(found, LEVELS):
        own = row["autoencoder"]
        ratios = (f"{k} {v / own:.2f}" for k, v in row.items() if v and k != "psnr" and own)
        print(f"{row['psnr']:.2f} dB, times as many bytes: {', '.join(ratios)}")
    _print_runs(found)


def photos(options: argparse.Namespace) -> None:
    """Print the bits per pixel of the last eight Kodak images, in every format."""
    places = options.out / "train", options.out / "test"
    for place, numbers in zip(places, (range(1, 17), range(17, 25)), strict=True):
        place.mkdir(parents=True, exist_ok=True)
        for number in numbers:
            shutil.copyfile(options.photos / f"{number:02}.png", place / f"{number:02}.png")
    roots = (f"dataset.root={places[0]}", f"dataset.test_root={places[1]}")
    runs = [
        trained(
            options.out / f"photos_{step}",
            "experiment=compress_photos",
            *roots,
            f"constraint.rate.step={step}",
            *words,
        )
        for step, words in STEPS.items()
    ]
    found = compared(options.out / "rd_photos", runs, "--data", str(places[1]))
    _print_runs(found)
    for row in matched(found, [run["psnr"] for run in found["runs"]]):
        print(", ".join(f"{name} {value:.3f}" for name, value in row.items() if value))


def compared(out: Path, runs: list[Path], *words: str) -> Card:
    """Run `aeframe rd` on runs; what its rd.json says."""
    command = [sys.executable, "-m", "aeframe", "rd", *map(str, runs), *words]
    print("comparing ...", file=sys.stderr, flush=True)
    place = ["--out", str(out), "--force"]
    subprocess.run([*command, *place], cwd=CHECKOUT, check=True, stdout=subprocess.DEVNULL)
    return json.loads((out / "rd.json").read_text())


def matched(found: Card, levels: Any) -> list[dict[str, float | None]]:
    """The rate of each curve at each PSNR, by its name."""
    from aeframe.codec.comparison.curves import Curve, Point

    unit = "bytes" if "bytes" in found["curves"][0]["results"] else "bpp"
    curves = []
    for each in found["curves"]:
        rates = each["results"][unit], each["results"]["psnr"]
        curves.append(Curve(each["name"], [Point(*p) for p in zip(*rates, strict=True)]))
    return [
        {"psnr": level, **{c.name: c.interpolate_rate(level) for c in curves}} for level in levels
    ]


def _print_runs(found: Card) -> None:
    for run in found["runs"]:
        rate = run.get("bytes", run.get("bpp"))
        print(
            f"{Path(run['run']).name}: {rate:.3f} at {run['psnr']:.2f} dB, decoder of "
            f"{run['decoder_bytes'] / 1e6:.1f} MB, paid for by {run['images_that_pay_for_it']} images"
        )


PARTS = {"results": results, "codes": codes, "photos": photos}


def main() -> None:
    parser = argparse.ArgumentParser("python -m tests.readme_results", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("parts", nargs="*", default=["results"], help=", ".join(PARTS))
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of MNIST")
    parser.add_argument("--photos", type=Path, help="folder of the 24 Kodak images")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"{', '.join(sorted(unknown))}: there are {', '.join(PARTS)}")
    if "photos" in options.parts and options.photos is None:
        parser.error("photos needs --photos FOLDER")
    for name in ("data", "photos", "out"):  # the commands run in the checkout
        if (given := getattr(options, name)) is not None:
            setattr(options, name, given.expanduser().resolve())
    for part in options.parts:
        PARTS[part](options)


if __name__ == "__main__":
    main()
