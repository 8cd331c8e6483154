"""Metrics of a whole split: the batches and the ranks that it came in must not show."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from aeframe.constraints import L1, Constraint, Masking, TopK
from aeframe.constraints.constrained import ConstrainedAutoencoder
from aeframe.core.noise import Noise
from aeframe.core.schedules import parse_schedule
from aeframe.data import Normalization
from aeframe.evaluation.metric_names import find_better, list_metric_names
from aeframe.evaluation.metrics import DeadUnits, Metrics
from aeframe.models import Autoencoder, Code, Output, Posterior, Sparse, Undercomplete, Variational
from aeframe.models.output import Term
from aeframe.models.variational import ELBO
from aeframe.training.build import build
from tests.support.constraint_tools import model
from tests.support.forks import Server
from tests.support.passes import INPUTS, UNITS, computed, passed

Compose = Callable[..., DictConfig]
NO_TERMS = {name: Term(torch.tensor(0.0)) for name in ("reconstruction", "gaussian_kl")}


def net(
    cls: type[Autoencoder] = Undercomplete, inputs: int = INPUTS, **parts: Constraint
) -> ConstrainedAutoencoder:
    identity = Normalization(torch.tensor(0.0), torch.tensor(1.0))
    return ConstrainedAutoencoder(model(cls, inputs=inputs, units=UNITS), parts, identity)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@st.composite
def partitions(draw: st.DrawFn, n: int) -> list[slice]:
    """Any way to cut n samples into batches."""
    inner = st.integers(1, n - 1)
    cuts = sorted(draw(st.sets(inner, max_size=n - 1))) if n > 1 else []
    return [slice(a, b) for a, b in zip([0, *cuts], [*cuts, n], strict=True)]


# ------------------------------------------------------------------------------ explained variance


def in_whole(x: Tensor, restored: Tensor) -> float:
    """1 - SSE/SST of a split in one piece."""
    data, found = x.double().numpy(), restored.double().numpy()
    return float(1 - ((data - found) ** 2).sum() / ((data - data.mean(0)) ** 2).sum())


@st.composite
def splits(draw: st.DrawFn) -> tuple[Tensor, Tensor, list[slice]]:
    """Data, its reconstruction, and batches. Some features are constant, and err nevertheless."""
    n, varying, constant = (
        draw(st.integers(2, 12)),
        draw(st.integers(1, 4)),
        draw(st.integers(0, 3)),
    )
    generator = np.random.default_rng(draw(st.integers(0, 999)))
    scale = draw(st.sampled_from([1e-3, 1.0, 1e3]))
    features = varying + constant
    x = generator.normal(size=(n, features)) + draw(st.sampled_from([0.0, 100.0]))
    x[:, varying:] = x[0, varying:]
    restored = x + draw(st.sampled_from([0.0, 0.1, 3.0])) * generator.normal(size=x.shape)
    pair = (torch.tensor(a * scale, dtype=torch.float32) for a in (x, restored))
    return (*pair, draw(partitions(n)))  # type: ignore[return-value]


@given(splits())
def test_explained_variance_is_that_of_the_whole_split(
    drawn: tuple[Tensor, Tensor, list[slice]],
) -> None:
    x, restored, batches = drawn
    metrics = Metrics(net(inputs=x.shape[1]), peak=1.0)
    found = computed(metrics, (passed(x[rows], restored[rows]) for rows in batches))
    expected = in_whole(x, restored)
    assert found["explained_variance"] == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_an_error_on_a_constant_feature_counts() -> None:
    x = torch.tensor([[0.0, 5.0], [2.0, 5.0]])
    restored = torch.tensor([[0.0, 6.0], [2.0, 6.0]])  # SSE = 2 on the second, SST = 2 on the first
    found = computed(Metrics(net(inputs=2), peak=1.0), [passed(x, restored)])
    assert found["explained_variance"] == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_the_mean_explains_nothing_and_the_identity_all(scale: float) -> None:
    x = scale * random(10, INPUTS).double()
    mean = x.mean(0).repeat(10, 1)
    batches = [slice(0, 3), slice(3, 10)]
    nothing = computed(Metrics(net(), 1.0), (passed(x[b], mean[b]) for b in batches))
    everything = computed(Metrics(net(), 1.0), (passed(x[b], x[b]) for b in batches))
    assert nothing["explained_variance"] == pytest.approx(0.0, abs=1e-9)
    assert everything["explained_variance"] == 1.0


def test_a_reconstruction_worse_than_the_mean_explains_less_than_nothing() -> None:
    x = torch.tensor([[-1.0], [1.0]])
    found = computed(Metrics(net(inputs=1), 1.0), [passed(x, -x)])
    assert found["explained_variance"] == pytest.approx(1 - 8 / 2)


def test_images_are_as_the_vectors_of_their_pixels() -> None:
    x, restored = random(5, 3, 2, 1), random(5, 3, 2, 1, seed=1)
    found = computed(Metrics(net(), 1.0), [passed(x, restored)])
    expected = in_whole(x.flatten(1), restored.flatten(1))
    assert found["explained_variance"] == pytest.approx(expected)


@pytest.mark.parametrize("n", [1, 2, 19, 934])
def test_where_nothing_varies_nothing_is_explained(n: int) -> None:
    for seed in range(20):
        x = random(1, 5, seed=seed).repeat(n, 1)  # whose sums are rounded, each in its own way
        found = computed(Metrics(net(inputs=5), 1.0), [passed(x, x + 1)])
        assert found["explained_variance"] == 0.0


def test_a_split_of_one_sample_still_has_its_other_metrics() -> None:
    # nothing varies in it: 1 - SSE/SST has no value, which is no reason to lose the run
    found = computed(Metrics(net(inputs=2), 1.0), [passed(torch.zeros(1, 2), torch.ones(1, 2))])
    assert found["mse"] == 1.0


# ------------------------------------------------------------------------------------- mse and psnr


def decibels(mse: float, peak: float) -> float:
    return 10 * math.log10(peak**2 / mse)


@settings(max_examples=30)
@given(batches=partitions(9), seed=st.integers(0, 99), peak=st.sampled_from([1.0, 2.5, 255.0]))
def test_mse_and_psnr_are_per_element_of_the_split(
    batches: list[slice], seed: int, peak: float
) -> None:
    x, restored = random(9, INPUTS, seed=seed), random(9, INPUTS, seed=seed + 1)
    found = computed(Metrics(net(), peak), (passed(x[b], restored[b]) for b in batches))
    mse = float(np.mean((x.double().numpy() - restored.double().numpy()) ** 2))
    assert found["mse"] == pytest.approx(mse, rel=1e-5)
    assert found["psnr"] == pytest.approx(decibels(mse, peak), abs=1e-4)  # not the batches' mean


def test_denoising_metrics_are_of_the_corrupted_pass() -> None:
    x = random(7, INPUTS)
    clean, denoised, corrupted = (
        x + s * random(7, INPUTS, seed=i) for i, s in enumerate([1, 2, 3])
    )
    metrics = Metrics(net(masking=Masking(fraction=0.5)), peak=4.0)
    batches = [slice(0, 5), slice(5, 7)]
    found = computed(
        metrics,
        [
            (passed(x[b], clean[b]), passed(x[b], denoised[b], corrupted=corrupted[b]))
            for b in batches
        ],
    )
    errors = [float((y - x).double().square().mean()) for y in (clean, denoised, corrupted)]
    assert found["mse"] == pytest.approx(errors[0], rel=1e-5)
    assert found["denoised_mse"] == pytest.approx(errors[1], rel=1e-5)
    assert found["denoised_psnr"] == pytest.approx(decibels(errors[1], 4.0), abs=1e-4)
    assert found["corrupted_psnr"] == pytest.approx(decibels(errors[2], 4.0), abs=1e-4)
    assert found["gain_db"] == pytest.approx(10 * math.log10(errors[2] / errors[1]), abs=1e-4)


# ----------------------------------------------------------------------------------- the code's units


@given(data=st.data(), floor=st.sampled_from([0.0, 0.5]))
def test_active_and_dead_units_by_counting(data: st.DataObject, floor: float) -> None:
    n = data.draw(st.integers(1, 6))
    entries = st.sampled_from([0.0, 0.0, 0.0, 0.4, 0.5, 1.0, -2.0])
    rows = data.draw(
        st.lists(st.lists(entries, min_size=UNITS, max_size=UNITS), min_size=n, max_size=n)
    )
    value, x = torch.tensor(rows), random(n, INPUTS)
    metrics = Metrics(net(Sparse, topk=TopK(k=2)), 1.0)
    batches = data.draw(partitions(n))
    found = computed(metrics, (passed(x[b], x[b], value=value[b], floor=floor) for b in batches))
    active = [[abs(entry) > floor for entry in row] for row in rows]
    l0 = sum(map(sum, active)) / n
    dead = sum(not any(row[unit] for row in active) for unit in range(UNITS))
    assert found["l0"] == pytest.approx(l0)
    assert found["dormant"] == pytest.approx(1 - l0 / UNITS)
    assert "dead" not in found  # of the split that is measured nobody asked
    counted = DeadUnits(UNITS)
    for b in batches:
        counted.update(passed(x[b], x[b], value=value[b], floor=floor).code)
    assert counted.compute() == pytest.approx(dead / UNITS)
    assert counted.is_over == (dead == 0)


def test_units_are_counted_without_corruption() -> None:
    x, none, all_of_them = random(3, INPUTS), torch.zeros(3, UNITS), torch.ones(3, UNITS)
    metrics = Metrics(net(Sparse, topk=TopK(k=2), masking=Masking(fraction=0.5)), 1.0)
    found = computed(metrics, [(passed(x, x, value=none), passed(x, x, value=all_of_them))])
    assert (found["l0"], found["dormant"]) == (0.0, 1.0)


def test_dead_units_are_those_that_no_training_sample_activates(
    compose: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = build(compose("model=sparse", "constraint.topk.k=2"))
    built.net.eval()
    samples = built.data.peek("train", 10_000)
    fired = torch.cat([built.net.encode(x).active for x in samples.split(50)]).any(0)
    metrics = Metrics(built.net, 1.0)
    metrics.count_dead(built.data)
    assert 0 < metrics.dead.compute() < 1
    assert metrics.dead.compute() == pytest.approx(float((~fired).double().mean()))

    monkeypatch.setattr(
        "aeframe.evaluation.metrics.COUNTED", 101
    )  # of which two ranks have 50 each
    shares = [
        torch.cat(list(built.data.some("train", 100, built.net.normalization, 9, rank, 2)))
        for rank in range(2)
    ]
    assert [len(share) for share in shares] == [50, 50]
    whole = built.data.peek("train", 100)
    assert torch.equal(torch.stack(shares, 1).flatten(0, 1), whole)
    metrics.reset()
    for rank in range(2):
        metrics.count_dead(built.data, rank=rank, world=2)
    fired = built.net.encode(whole).active.any(0)
    assert metrics.dead.compute() == pytest.approx(float((~fired).double().mean()))


def posterior(mean: Tensor, log_variance: Tensor) -> Code:
    """Make a posterior of which the decoder reads something else, as after a constraint."""
    return Code(mean, torch.zeros_like(mean), posterior=Posterior(mean, log_variance))


def test_active_units_are_those_whose_mean_varies_by_more_than_a_hundredth() -> None:
    variances = torch.tensor([0.0, 0.0099, 0.0101, 4.0, 1e-6, 0.02, 0.0, 0.005, 0.011]).double()
    signs = torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0, -1.0, 1.0, -1.0]).double()
    mean = 3.0 + signs[:, None] * variances.sqrt()  # far from 0: it is the spread that counts
    x = random(8, INPUTS)
    metrics = Metrics(net(Variational), 1.0)
    # in batches within which every mean is constant
    order = [[0, 2], [4, 6], [1, 3, 5], [7]]
    passes = []
    for rows in order:
        plain = passed(x[rows], x[rows], **NO_TERMS)
        code = posterior(mean[rows], torch.full((len(rows), UNITS), 1.0))
        passes.append(plain._replace(code=code))
    assert computed(metrics, passes)["active_units"] == 4


# ---------------------------------------------------------------------------------- terms of the loss


def test_terms_are_averaged_by_sample_and_not_by_batch() -> None:
    x = random(4, INPUTS)
    three = passed(
        x[:3], x[:3], reconstruction=Term(torch.tensor(1.0)), l1=Term(torch.tensor(8.0), 0.5)
    )
    one = passed(
        x[3:], x[3:], reconstruction=Term(torch.tensor(5.0)), l1=Term(torch.tensor(0.0), 0.5)
    )
    found = computed(Metrics(net(l1=L1(weight=0.5)), 1.0), [three, one])
    assert found["reconstruction"] == pytest.approx((3 * 1 + 5) / 4)
    assert found["l1"] == pytest.approx(3 * 8 / 4)  # as it is, before its weight
    assert found["loss"] == pytest.approx((3 * (1 + 4) + 5) / 4)


def test_a_batch_without_a_finite_loss_is_not_left_out() -> None:
    x = random(4, INPUTS)
    fine = passed(x[:2], x[:2], reconstruction=Term(torch.tensor(1.0)))
    broken = passed(x[2:], x[2:], reconstruction=Term(torch.tensor(math.nan)))
    assert math.isnan(computed(Metrics(net(), 1.0), [fine, broken])["loss"])


@pytest.mark.parametrize("k", [1, 3])
def test_kl_and_negative_elbo_are_closed_forms_whatever_is_trained(k: int) -> None:
    """The bound has neither beta nor free bits nor emphasis."""
    made = net(Variational, masking=Masking(fraction=0.5, emphasis_corrupted=3.0))
    made.model.k, made.model.elbo = k, ELBO(parse_schedule(7.0), free_bits=2.0)
    x, sizes = random(7, INPUTS), (5, 2)
    passes = [made(rows, noise=Noise(i)) for i, rows in enumerate(x.split(sizes))]
    clean = [made(rows, noise=Noise(0), as_trained=False) for rows in x.split(sizes)]
    metrics = Metrics(made, 1.0)
    found = computed(metrics, list(zip(clean, passes, strict=True)))
    kl = nll = loss = 0.0
    for output in passes:
        q = output.code.posterior
        assert q is not None
        normal = Normal(q.mean, torch.exp(0.5 * q.log_variance))
        kl += kl_divergence(normal, Normal(0.0, 1.0)).sum().item()
        for sample in output.parameters.chunk(k):  # all for the first draw, then for the second
            nll -= Normal(sample, 1.0).log_prob(output.x).sum().item() / k
        loss += output.loss.item() * len(output.x)
    assert found["kl"] == pytest.approx(kl / 7, rel=1e-5)
    assert found["negative_elbo"] == pytest.approx((nll + kl) / 7, rel=1e-5)
    assert found["loss"] == pytest.approx(loss / 7, rel=1e-5)
    assert found["loss"] > found["negative_elbo"]


def test_a_reset_begins_anew() -> None:
    made = net(Variational, masking=Masking(fraction=0.5), l1=L1(weight=0.1))
    first, second = random(6, INPUTS), random(4, INPUTS, seed=1)

    def both(x: Tensor) -> tuple[Output, Output]:
        return made(x, noise=Noise(0), as_trained=False), made(x, noise=Noise(0))

    used = Metrics(made, 1.0)
    computed(used, [both(first)])
    used.reset()
    assert computed(used, [both(second)]) == computed(Metrics(made, 1.0), [both(second)])


# ------------------------------------------------------------------------------------------ two ranks


def _everything() -> tuple[ConstrainedAutoencoder, Tensor, tuple[Output, Output]]:
    """A network of which every metric exists, 7 samples, and its passes over them."""
    made = net(Variational, masking=Masking(fraction=0.5), l1=L1(weight=0.1))
    x = random(7, INPUTS)
    x[:, 2] = 1.5
    with torch.no_grad():
        return made, x, (made(x, noise=Noise(0), as_trained=False), made(x, noise=Noise(0)))


def _part(output: Output, rows: Tensor) -> Output:
    """The pass of some samples; their terms stand for all, so that their mean shows the weights."""
    q = output.code.posterior
    assert q is not None
    taken = {name: getattr(output, name)[rows] for name in ("x", "corrupted", "parameters")}
    code = Code(
        output.code.pre[rows],
        output.code.value[rows],
        posterior=Posterior(q.mean[rows], q.log_variance[rows]),
    )
    terms = {name: Term(rows.double().mean() + i) for i, name in enumerate(output.terms)}
    return output._replace(code=code, terms=terms, **taken)


def _rank(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder}/store",
        rank=rank,
        world_size=2,
        timeout=timedelta(seconds=20),
    )
    made, x, (clean, trained) = _everything()
    metrics = Metrics(made, 2.0)
    rows = torch.arange(len(x))[rank::2]  # 4 samples in two batches, and 3 in one
    for batch in rows.split(3):
        metrics.update(_part(clean, batch), _part(trained, batch))
    found = metrics.compute()
    metrics = Metrics(made, 2.0)
    if rank == 0:  # a split of fewer samples than ranks
        metrics.update(_part(clean, rows), _part(trained, rows))
    try:
        of_one_rank: dict[str, float] | str = metrics.compute()
    except RuntimeError as error:
        of_one_rank = str(error)
    torch.save((found, of_one_rank), Path(folder) / f"{rank}.pt")
    torch.distributed.destroy_process_group()


def both() -> None:
    """The first rank, in the process that is started for it, and the second beside it."""
    (folder,) = sys.argv[1:]
    second = os.fork()
    _rank(int(second == 0), folder)
    if second == 0:
        os._exit(0)
    assert os.waitpid(second, 0)[1] == 0


@pytest.fixture(scope="module")
def two_ranks(server: Server, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """Return the metrics of each of two processes: of a shared split, and of one that only the first saw."""
    folder = tmp_path_factory.mktemp("ranks")
    said = folder / "said"
    started = server.start([str(folder)], folder, said, entry="tests.evaluation.test_metrics:both")
    assert started.wait(100) == 0, said.read_text()
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1)]


def alone(rows: Tensor) -> dict[str, float]:
    made, _, (clean, trained) = _everything()
    return computed(Metrics(made, 2.0), [(_part(clean, rows), _part(trained, rows))])


def test_two_ranks_measure_what_one_process_would(two_ranks: list[Any]) -> None:
    (first, _), (second, _) = two_ranks
    _, x, (clean, _) = _everything()
    assert first == second
    assert first["explained_variance"] == pytest.approx(in_whole(x, clean.reconstruction))
    assert first == pytest.approx(alone(torch.arange(7)), rel=1e-5)


def test_a_rank_without_a_sample_knows_all_the_metrics_too(two_ranks: list[Any]) -> None:
    (_, first), (_, second) = two_ranks
    assert first == second
    assert first == pytest.approx(alone(torch.arange(7)[::2]), rel=1e-5)


# --------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    "overrides",
    [
        ["model=undercomplete"],
        ["model=undercomplete", "constraint=[]", "model.latent_dim=8"],
        ["model=undercomplete", "constraint=[bottleneck,l2,contractive,orthogonal]"],
        ["model=denoising"],
        ["model=denoising", "constraint=[gaussian_noise,salt_and_pepper,l2]"],
        ["model=sparse"],
        ["model=sparse", "constraint=l1"],
        ["model=sparse", "constraint=[masking,jump_relu]"],
        ["model=sparse", "constraint=[sigmoid,kl_sparsity]"],
        ["model=sparse", "constraint=[topk,auxk]"],
        ["model=sparse", "constraint=[l1,resampling]"],
        ["model=variational"],
        ["model=variational", "constraint=[masking,l1]"],
        ["model=variational", "model.objective=importance_weighted", "model.k=2"],
    ],
    ids=" ".join,
)
def test_a_run_has_the_metrics_that_its_names_promise(
    compose: Compose, overrides: list[str]
) -> None:
    built = build(compose(*overrides, "network=linear"))
    built.net.eval()
    x = built.data.peek("val", 20)
    passes = (built.net(x, noise=Noise(0), as_trained=flag) for flag in (False, True))
    built.module.metrics.count_dead(built.data)
    found = {f"val/{name}" for name in computed(built.module.metrics, [tuple(passes)])}
    model = built.net.model
    promised = list_metric_names(type(model), dict(built.net.parts), vars(model))
    assert len(promised) == len(set(promised))
    assert found == set(promised)


def _measured(error: float) -> dict[str, float]:
    """Every metric of reconstruction for a network that errs by so much."""
    x = random(20, INPUTS)
    wrong = x + error * random(20, INPUTS, seed=1)
    nll = Term(-Normal(wrong, 1.0).log_prob(x).sum(1).mean())
    made = net(Variational, masking=Masking(fraction=0.5))
    terms = NO_TERMS | {"reconstruction": nll}
    plain = passed(x, wrong, corrupted=x + 0.5, **terms)
    code = posterior(torch.ones(20, UNITS), torch.zeros(20, UNITS))
    return computed(Metrics(made, 1.0), [plain._replace(code=code)])


def test_the_better_network_is_better_by_every_metric() -> None:
    good, bad = _measured(0.1), _measured(0.4)
    differing = {name for name in good if good[name] != bad[name]}
    assert differing == {
        *("mse", "psnr", "explained_variance", "denoised_mse", "denoised_psnr", "gain_db"),
        *("reconstruction", "loss", "negative_elbo"),
    }
    for name in differing:
        for written in (name, f"val/{name}", f"test/{name}"):
            better = max if find_better(written) == "max" else min
            assert better(good[name], bad[name]) == good[name], name


@pytest.mark.parametrize(
    ("name", "better"),
    [("active_units", "max"), ("dead", "min"), ("kl", "min"), ("l1", "min"), ("val/l0", "min")],
)
def test_which_way_is_better_for_the_others(name: str, better: str) -> None:
    assert find_better(name) == better


def test_metrics_are_plain_numbers(compose: Compose) -> None:
    metrics: Any = Metrics(net(), 1.0)
    x = random(3, INPUTS)
    assert {type(value) for value in computed(metrics, [passed(x, x + 1)]).values()} == {float}
