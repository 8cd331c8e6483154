"""Mistakes in a configuration: one message each, with what, where and what to do."""
# ruff: noqa: E501 (the table keeps each mistake and its message on one line)

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import DictConfig

from aeframe.config.check import check
from aeframe.core.errors import ConfigError, UserError
from aeframe.training.build import build

Compose = Callable[..., DictConfig]
ONE = (
    "constraint.bottleneck: a code of 1 units is not a bottleneck for 1 inputs. "
    "Write constraint=[], or leave bottleneck out: no code is smaller than one unit."
)
PLATEAU = "scheduler={_target_: torch.optim.lr_scheduler.ReduceLROnPlateau}"
SPARSE = "topk, batch_topk, winner_take_all, jump_relu, threshold, sigmoid, l1 or kl_sparsity"
NEEDS_CORRUPTION = (
    "model=denoising needs a corrupted input, but nothing corrupts it. "
    "Add one of masking, gaussian_noise or salt_and_pepper, or give pairs: dataset.target=FILE."
)
NEEDS_SPARSITY = (
    f"model=sparse needs few active units, but nothing makes the code sparse. Add one of {SPARSE}."
)
DRAWN = (
    "needs a deterministic code, but model=variational draws its code from a posterior. "
    "Write model=sparse, or one of bottleneck, l1, l2, contractive, "
    "masking, gaussian_noise or salt_and_pepper."
)

MISTAKES: list[tuple[list[str], str]] = [
    # unknown keys, with the nearest one
    (["++model.latnt_dim=3"], "model.latnt_dim: unknown key. Did you mean latent_dim?"),
    (["++sead=1"], "sead: unknown key. Did you mean seed?"),
    (["++dataset.bach_size=3"], "dataset.bach_size: unknown key. Did you mean batch_size?"),
    (["++network.width=[3]"], "network.width: unknown key. Did you mean widths?"),
    (["++likelihood.varience=2"], "likelihood.varience: unknown key. Did you mean variance?"),
    (["++trainer.max_epoch=2"], "trainer.max_epoch: unknown key. Did you mean max_epochs?"),
    (["++hardware.device=2"], "hardware.device: unknown key. Did you mean devices?"),
    (["++optimizer.learning_rate=1"], "optimizer.learning_rate: unknown key."),
    (["++until.atmost=1"], "until.atmost: unknown key. Did you mean at_most?"),
    (["++early_stopping.patiense=1"], "early_stopping.patiense: unknown key. Did you mean patience?"),
    (["++dashboard.image=1"], "dashboard.image: unknown key. Did you mean images?"),
    (["++evaluation.image=5"], "evaluation.image: unknown key. Did you mean images?"),
    (["++model.beta=2"], "model.beta: unknown key. Known: allow_overcomplete, latent_dim."),
    (["constraint=l1", "++constraint.l1.wieght=1"], "constraint.l1.wieght: unknown key. Did you mean weight?"),
    (["++constraint.topk.k=5"], "constraint.topk: is not among the chosen constraints. Add topk to constraint=[...]."),
    (["++model.network=3"], "model.network: unknown key."),
    (["++trainer.callbacks=[]"], "trainer.callbacks: unknown key."),
    (["++trainer.cuda_graph=true"], "trainer.cuda_graph: unknown key."),
    # wrong types
    (["seed=abc"], "seed=abc: expected a whole number of 0 to 4294967295."),
    (["seed=1.5"], "seed=1.5: expected a whole number of 0 to 4294967295."),
    (["seed=-1"], "seed=-1: expected a whole number of 0 to 4294967295."),
    (["seed=null"], "seed=null: expected a whole number of 0 to 4294967295."),
    (["model.latent_dim=abc"], "model.latent_dim=abc: expected a whole number or auto."),
    (["model.latent_dim=8.0"], "model.latent_dim=8.0: expected a whole number or auto. Write 8."),
    (["model.latent_dim=true"], "model.latent_dim=true: expected a whole number or auto."),
    (["model.latent_dim=null"], "model.latent_dim=null: expected a whole number or auto."),
    (["model.allow_overcomplete=3"], "model.allow_overcomplete=3: expected true or false."),
    (["network.widths=64"], "network.widths=64: expected a list or auto. Write [A,B,...]."),
    (["network.widths=[64,x]"], "network.widths=[64, 'x']: entry 2: expected a whole number."),
    (["network.tied=maybe"], "network.tied=maybe: expected true or false."),
    (["dataset.batch_size=1e2"], "dataset.batch_size=100.0: expected a whole number or auto. Write 100."),
    (["model=variational", "model.beta=much"], "model.beta=much: expected a number or a schedule, got 'much'."),
    (["trainer.max_epochs=many"], "trainer.max_epochs=many: expected a whole number or auto."),
    (["trainer.max_epochs=1.5"], "trainer.max_epochs=1.5: expected a whole number or auto."),
    (["trainer.compile=perhaps"], "trainer.compile=perhaps: expected true or false."),
    (["trainer.gradient_clip_val=x"], "trainer.gradient_clip_val=x: expected a number."),
    (["++trainer.max_time=3"], "trainer.max_time=3: expected text. Put it in quotes."),
    (["++trainer.max_time=soon"], "trainer.max_time=soon: is not a duration. Write DAYS:HOURS:MINUTES:SECONDS, e.g. '00:01:30:00' in quotes."),
    (["trainer.steps_per_call=x"], "trainer.steps_per_call=x: expected a whole number or auto."),
    (["trainer.deterministic=x"], "trainer.deterministic=x: expected true, false or warn."),
    (["hardware.threads=many"], "hardware.threads=many: expected a whole number or auto."),
    (["hardware.devices=x"], "hardware.devices=x: expected a whole number, a list or auto."),
    (["hardware.devices=[0,x]"], "hardware.devices=[0, 'x']: entry 2: expected a whole number."),
    (["dataset.in_memory=x"], "dataset.in_memory=x: expected true, false or auto."),
    (["dataset.num_workers=x"], "dataset.num_workers=x: expected a whole number or auto."),
    (["dataset.memory_limit=x"], "dataset.memory_limit=x: expected a number."),
    (["dataset.shuffle=sometimes"], "dataset.shuffle=sometimes: expected true or false."),
    (["dataset=image_folder", "dataset.root=conf", "dataset.cache=false"], "dataset.cache=false: expected text or null. Write null for none."),
    (["dataset=image_folder", "dataset.root=conf", "dataset.cache=none"], "dataset.cache=none: is not a folder. Write null for no cache, or ./NAME for a folder of this name."),
    (["dataset=image_folder", "dataset.root=3"], "dataset.root=3: expected text. Put it in quotes."),
    (["dataset=array", "dataset.path=[a.npy]"], "dataset.path=['a.npy']: expected text. Put it in quotes."),
    (["dataset=mnist", "dataset.download=maybe"], "dataset.download=maybe: expected true or false."),
    (["network.activation=3"], "network.activation=3: expected one of relu, leaky_relu, gelu, silu, tanh, sigmoid."),
    (["network.dropout=much"], "network.dropout=much: expected a number."),
    (["model=sparse", "constraint.topk.k=few"], "constraint.topk.k=few: expected a number, a schedule or auto."),
    (["constraint=[bottleneck,l2]", "constraint.l2.weight=x"], "constraint.l2.weight=x: expected a number or a schedule, got 'x'."),
    (["early_stopping.patience=long"], "early_stopping.patience=long: expected a whole number or auto."),
    (["checkpoint.every_minutes=often"], "checkpoint.every_minutes=often: expected a number."),
    (["dashboard.images=many"], "dashboard.images=many: expected a whole number."),
    (["evaluation.images=all"], "evaluation.images=all: expected a whole number."),
    (["divergence.retries=x"], "divergence.retries=x: expected a whole number."),
    (["until.at_most=low", "until.metric=val/mse"], "until.at_most=low: expected a number."),
    (["until.metric=3", "until.at_most=1"], "until.metric=3: expected text. Put it in quotes."),
    (["resume=3"], "resume=3: expected text or null. Write resume=auto, or the folder of a run."),
    (["resume=[a]"], "resume=['a']: expected text or null. Write resume=auto, or the folder of a run."),
    (["resume=true"], "resume=True: expected text or null. Write resume=auto, or the folder of a run."),
    # out of range
    (["divergence.retries=-1"], "divergence.retries=-1: must be at least 0."),
    (["divergence.lr_factor=1"], "divergence.lr_factor=1: must be below 1."),
    (["divergence.explodes_at=1"], "divergence.explodes_at=1: must be above 1."),
    (["checkpoint.every_minutes=-1"], "checkpoint.every_minutes=-1: must be at least 0."),
    (["dashboard.images=-1"], "dashboard.images=-1: must be at least 0."),
    (["dashboard.every_n_epochs=0"], "dashboard.every_n_epochs=0: must be at least 1."),
    (["dataset.memory_limit=0"], "dataset.memory_limit=0: must be above 0."),
    (["optimizer.lr=inf"], "optimizer.lr=inf: must be finite."),
    (["optimizer.lr=nan"], "optimizer.lr=nan: must be finite."),
    (["hardware.threads=0"], "hardware.threads=0: must be at least 1."),
    (["hardware.threads=100000"], "hardware.threads=100000: more threads than the"),
    (["dataset.num_workers=100000"], "dataset.num_workers=100000: more workers than the"),
    (["trainer.steps_per_call=0"], "trainer.steps_per_call=0: must be at least 1."),
    (["dataset=image_folder", "dataset.root=conf", "dataset.size=0"], "dataset.size=0: must be at least 1."),
    (["network.widths=[4611686018427387904]", "constraint=[]"], "network"),
    (["network.widths=[10000000000000000000000]", "constraint=[]"], "network"),
    (["network.widths=[100000000000]"], "network: 16,200,000,000,081 weights and their gradients take 120,699 GiB, but this machine has"),
    (["early_stopping.min_delta=-1"], "early_stopping.min_delta=-1: must be at least 0."),
    (["early_stopping.warmup_epochs=-1"], "early_stopping.warmup_epochs=-1: must be at least 0."),
    (["model.latent_dim=-3"], "model.latent_dim=-3: must be at least 1."),
    (["optimizer.lr=${oc.decode:'.nan'}"], "optimizer.lr="),
    (["seed=4294967296"], "seed=4294967296: expected a whole number of 0 to 4294967295."),
    (["model.latent_dim=0"], "model.latent_dim=0: must be at least 1."),
    (["network.widths=[16,0]"], "network.widths=[16, 0]: entry 2: must be at least 1."),
    (["network.dropout=1"], "network.dropout=1: must be below 1."),
    (["dataset.batch_size=0"], "dataset.batch_size=0: must be at least 1."),
    (["dataset.val_fraction=-0.1"], "dataset.val_fraction=-0.1: must be at least 0."),
    (["dataset.test_fraction=0"], "dataset.test_fraction=0: must be above 0."),
    (["dataset.test_fraction=1"], "dataset.test_fraction=1: must be below 1."),
    (["dataset.num_workers=-1"], "dataset.num_workers=-1: must be at least 0."),
    (["optimizer.lr=0"], "optimizer.lr=0: must be above 0."),
    (["optimizer.lr=-1e-3"], "optimizer.lr=-0.001: must be above 0."),
    (["likelihood.variance=0"], "likelihood.variance=0: must be at least 1e-06."),
    (["model=variational", "model.beta=-1"], "model.beta=-1: must be at least 0."),
    (["model=variational", "model.k=0"], "model.k=0: must be at least 1."),
    (["model=variational", "model.free_bits=-1"], "model.free_bits=-1: must be at least 0."),
    (["model=denoising", "constraint.masking.fraction=1.2"], "constraint.masking.fraction=1.2: must be at most 1."),
    (["constraint=kl_sparsity", "constraint.kl_sparsity.rho=1"], "constraint.kl_sparsity.rho=1: must be at most 0.999999."),
    (["constraint=l1", "constraint.l1.weight=-1"], "constraint.l1.weight=-1: must be at least 0."),
    (["model=sparse", "constraint.topk.k=0"], "constraint.topk.k=0: must be at least 1."),
    (["constraint.bottleneck.ratio=1.5"], "constraint.bottleneck.ratio=1.5: must be at most 0.999999."),
    (["early_stopping.patience=0"], "early_stopping.patience=0: must be at least 1."),
    (["evaluation.images=1"], "evaluation.images=1: must be at least 2."),
    (["trainer.max_epochs=0"], "trainer.max_epochs=0: must be at least 1."),
    (["trainer.log_every_n_steps=0"], "trainer.log_every_n_steps=0: must be at least 1."),
    (["trainer.limit_train_batches=2.5"], "trainer.limit_train_batches=2.5: must be at most 1."),
    (["trainer.limit_val_batches=0"], "trainer.limit_val_batches=0: must be at least 1."),
    (["trainer.accumulate_grad_batches=0"], "trainer.accumulate_grad_batches=0: must be at least 1."),
    (["trainer.gradient_clip_val=-1"], "trainer.gradient_clip_val=-1: must be above 0."),
    (["hardware.devices=0"], "hardware.devices=0: must be at least 1."),
    (["hardware.num_nodes=2"], "hardware.num_nodes=2: the addresses of the other machines are unknown"),
    (["hardware.num_nodes=0"], "hardware.num_nodes=0: must be at least 1."),
    (["++optimizer.betas=[2,3]"], "optimizer: does not work (Invalid beta parameter at index 0: 2)."),
    (["optimizer._target_=torch.optim.SparseAdam"], "optimizer: does not work (SparseAdam does not support dense gradients, please consider Adam instead)."),
    (["scheduler={_target_: torch.optim.lr_scheduler.StepLR, step_size: 0}"], "scheduler: does not work (integer modulo by zero)."),
    (["scheduler={_target_: torch.optim.lr_scheduler.StepLR}"], "scheduler.step_size: is missing. Write scheduler.step_size=VALUE."),
    (["scheduler={_target_: torch.optim.lr_scheduler.StepLR, step_size: 1, frequency: 0}"], "scheduler.frequency=0: must be at least 1."),
    ([PLATEAU, "+scheduler.frequency=3", "trainer.check_val_every_n_epoch=2"], "scheduler.frequency=3: ReduceLROnPlateau reads a validation metric, which is new only every 2 epochs. Write scheduler.frequency=2, or leave it out."),
    ([PLATEAU, "+scheduler.interval=step"], "scheduler.interval=step: ReduceLROnPlateau needs a validation, but none follows a fixed number of steps. Write scheduler.interval=epoch."),
    ([PLATEAU, "+scheduler.interval=step", "+scheduler.frequency=6", "++trainer.val_check_interval=4"], "scheduler.frequency=6: ReduceLROnPlateau reads a validation metric, which is new only every 4 steps. Write scheduler.frequency=4, or leave it out."),
    (["++trainer.max_steps=3", "++trainer.min_steps=9"], "trainer.min_steps=9: is more than trainer.max_steps=3."),
    (["dataset=image_folder", "dataset.root=''"], "dataset.root: is empty. Write dataset.root=FOLDER."),
    (["dataset=mnist", "dataset.root=''"], "dataset.root: is empty. Write dataset.root=FOLDER."),
    (["model=variational", "constraint=rate"], f"constraint=rate: {DRAWN.replace('=sparse', '=undercomplete')}"),
    (["trainer.max_epochs=null"], "trainer.max_epochs=null: no limit ends training. Write trainer.max_epochs=20."),
    (["trainer.max_epochs=2", "trainer.check_val_every_n_epoch=3"], "trainer.check_val_every_n_epoch=3: none of the 2 epochs would end with a validation. Write 2 or less."),
    (["optimized_metric=null"], "optimized_metric=null: is not a metric. Write auto, or val/mse."),
    (["trainer.precision=16-mixed"], "trainer.precision=16-mixed: only GPUs compute in float16. Write trainer.precision=bf16-mixed, or hardware=gpu."),
    # not among the choices
    (["++trainer.profiler=fast"], "trainer.profiler=fast: expected one of simple, advanced, pytorch."),
    (["++trainer.gradient_clip_algorithm=nrm"], "trainer.gradient_clip_algorithm=nrm: expected one of norm, value."),
    (["dataset=image_folder", "dataset.root=conf", "dataset.fit=stretch"], "dataset.fit=stretch: expected one of crop, resize."),
    (["dataset=image_folder", "dataset.root=conf", "dataset.color=grey"], "dataset.color=grey: expected one of rgb, gray. Did you mean gray?"),
    (["hardware.accelerator=gpuu"], "hardware.accelerator=gpuu: expected one of cpu, gpu, auto. Did you mean gpu?"),
    (["hardware.strategy=dpp"], "hardware.strategy=dpp: expected one of auto, ddp, ddp_find_unused_parameters_true, fsdp. Did you mean ddp?"),
    (["trainer.precision=15"], "trainer.precision=15: expected one of 32-true, high, medium, bf16-mixed, 16-mixed, 64-true."),
    (["++trainer.fast_dev_run=true"], "trainer.fast_dev_run: unknown key."),
    (["scheduler={_target_: torch.optim.lr_scheduler.ReduceLROnPlateau, monitor: val/msee}"], "scheduler.monitor=val/msee: unknown metric. Did you mean val/mse?"),
    (["network.activation=rellu"], "network.activation=rellu: expected one of relu, leaky_relu, gelu, silu, tanh, sigmoid. Did you mean relu?"),
    (["network.norm=group"], "network.norm=group: expected one of none, batch, layer."),
    (["dataset.normalization=minmax"], "dataset.normalization=minmax: expected one of auto, unit, rms, standard, rank, none."),
    (["constraint=l1", "constraint.l1.form=plain"], "constraint.l1.form=plain: expected one of norm_weighted, unit_norm."),
    (["likelihood.variance=learn"], "likelihood.variance=learn: expected a number, auto, optimal or learned. Did you mean learned?"),
    (["model=variational", "model.objective=elboo"], "model.objective=elboo: expected one of elbo, importance_weighted. Did you mean elbo?"),
    (["optimized_metric=val/msee"], "optimized_metric=val/msee: unknown metric. Did you mean val/mse?"),
    (["optimized_metric=test/mse"], "optimized_metric=test/mse: unknown metric."),
    (["until.metric=val/l0", "until.at_most=3"], "until.metric=val/l0: unknown metric."),
    (["scheduler={_target_: torch.optim.lr_scheduler.ExponentialLR, gamma: 0.9, interval: day}"], "scheduler.interval=day: expected one of epoch, step."),
    # schedules
    (["model=sparse", "constraint.topk.k={schedule: linar, start: 9, end: 3, epochs: 2}"], "unknown schedule 'linar'"),
    (["model=sparse", "constraint.topk.k={schedule: linear, start: 9, end: 0, epochs: 2}"], "must be at least 1."),
    (["model=denoising", "constraint.masking.fraction={schedule: warmup, value: 0.5}"], "warmup takes value and either epochs or steps"),
    # options that contradict each other
    (["constraint.bottleneck.size=4", "constraint.bottleneck.ratio=0.5"], "constraint.bottleneck: size and ratio both set the code size; write one and leave the other null."),
    (["model=sparse", "constraint=threshold", "constraint.threshold.theta=1"], "constraint.threshold: write either theta or rate, and leave the other null."),
    (["until.metric=val/mse"], "until: write either until.at_most or until.at_least beside until.metric."),
    (["until.at_most=0.1"], "until: a level needs until.metric, e.g. until.metric=val/mse."),
    # illegal pairs
    (["model=denoising", "constraint=[]"], f"constraint=[]: {NEEDS_CORRUPTION}"),
    (["model=denoising", "constraint=topk"], f"constraint=[topk]: {NEEDS_CORRUPTION}"),
    (["model=sparse", "constraint=[]"], f"constraint=[]: {NEEDS_SPARSITY}"),
    (["model=sparse", "constraint=[masking,l2]"], f"constraint=[masking,l2]: {NEEDS_SPARSITY}"),
    (["model=variational", "constraint=topk"], f"constraint=topk: {DRAWN}"),
    (["model=variational", "constraint=[l1,auxk]"], f"constraint=auxk: {DRAWN}"),
    (["model=sparse", "constraint=[topk,rate]"], "constraint=[topk,rate]: rate adds noise to each unit, but topk makes some of them exactly 0 or 1. Write constraint=rate: what it makes small is rounded to 0."),
    (["constraint=rate", "constraint.rate.step=0"], "constraint.rate.step=0: must be at least 1e-06."),
    (["model=sparse", "constraint=[topk,jump_relu]"], "constraint=[topk,jump_relu]: topk and jump_relu each decide alone which units are dormant. Keep one of them, e.g. constraint=topk."),
    (["model=sparse", "constraint=[topk,kl_sparsity]"], "constraint=[topk,kl_sparsity]: kl_sparsity needs units in (0, 1), but topk does not give them. Write constraint=kl_sparsity, or [sigmoid,kl_sparsity]."),
    (["model=sparse", "constraint=[kl_sparsity,sigmoid]"], "constraint=[kl_sparsity,sigmoid]: sigmoid comes after kl_sparsity, which would penalize other units. Write constraint=[sigmoid,kl_sparsity]."),
    (["model=sparse", "constraint=[topk,bottleneck]"], "constraint=[topk,bottleneck]: bottleneck gives fewer units than inputs, but model=sparse needs more. Write model=undercomplete, or model.allow_undercomplete=true."),
    (["constraint=[bottleneck,auxk]", "network=linear"], f"constraint=[bottleneck,auxk]: auxk revives the dead units of a sparse code, but nothing makes the code sparse. Add one of {SPARSE}."),
    (["model=sparse", "constraint=[topk,auxk]", "network=mlp"], "constraint=[topk,auxk]: auxk needs a decoder of one linear layer. Write network=linear."),
    (["model=sparse", "constraint=[topk,auxk]", "likelihood=bernoulli"], "constraint=[topk,auxk]: auxk needs a likelihood whose mean is the decoder's output. Write likelihood=gaussian."),
    (["constraint=[bottleneck,contractive]", "constraint.contractive.method=exact"], "constraint.contractive.method=exact: the closed form holds only for one linear layer without a posterior. Write constraint.contractive.method=hutchinson, or network=linear."),
    (["constraint=l1", "constraint.l1.form=unit_norm"], "constraint=[l1]: l1 needs a decoder of one linear layer. Write network=linear."),
    (["model=variational", "constraint=contractive", "network=linear", "constraint.contractive.method=exact"], "constraint.contractive.method=exact: the closed form holds only for one linear layer without a posterior."),
    (["model=sparse", "constraint=[l1,l2]", "constraint.l1.form=unit_norm", "network.tied=true"], "constraint=[l1,l2]: l2 cannot decay tied weights, because l1 fixes their norms. Leave l2 out, or write constraint.l1.form=norm_weighted."),
    (["model=variational", "network.tied=true"], "network.tied=true: model=variational has 2 encoder outputs for each unit to tie to. Write network.tied=false."),
    (["likelihood=bernoulli", "dataset.normalization=standard"], "dataset.normalization=standard: gives values outside [0, 1], which likelihood=bernoulli cannot take. Write dataset.normalization=unit, or likelihood=gaussian."),
    (["model=sparse", "constraint=[l1,resampling]", "hardware=fsdp"], "constraint=[l1,resampling]: resampling changes weights in place, but hardware=fsdp splits them among processes. Write hardware=ddp."),
    (["model=variational", "model.objective=importance_weighted", "model.beta=2"], "model.objective=importance_weighted: the importance-weighted bound has neither beta nor free bits. Write model.beta=1 model.free_bits=0, or model.objective=elbo."),
    # sizes
    (["model.latent_dim=64", "constraint=[]"], "model.latent_dim=64: the code must be smaller than the 64 inputs. Write model.latent_dim=16, or model=sparse."),
    (["model=variational", "model.latent_dim=64"], "constraint.bottleneck: a code of 64 units is not a bottleneck for 64 inputs. Write constraint.bottleneck.size=16, or another constraint."),
    (["network.widths=[32,48]"], "network.widths: the layers must narrow to the code, but have [32, 48, 16] units, code last. Write widths that decrease to the code."),
    (["network=conv", "network.widths=[8,16,32,64]"], "network.widths: the layers must narrow to the code, but have [128, 64, 32, 64, 16] units (channels x pixels), code last. Write fewer or smaller widths."),
    (["model=sparse", "dataset=cifar10", "model.latent_dim=1024", "model.allow_undercomplete=false"], "model.latent_dim=1024: a sparse code needs more units than the 3072 inputs. Write model.latent_dim=6144, or model.allow_undercomplete=true."),
    (["model=sparse", "model.latent_dim=40"], "model.latent_dim=40: a sparse code needs more units than the 64 inputs. Write model.latent_dim=128, or model.allow_undercomplete=true."),
    (["model=sparse", "constraint.topk.k=1024", "model.latent_dim=1024"], "constraint.topk: k=1024 leaves none of the 1024 code units dormant. Write constraint.topk.k=16."),
    (["model=sparse", "constraint=winner_take_all", "dataset.batch_size=8"], "constraint.winner_take_all: a share of 0.05 of a batch of 8 is less than one winner. Write constraint.winner_take_all.rate=0.25 or dataset.batch_size=40."),
    # files
    (["dataset=image_folder"], "dataset.root: no folder given. Write dataset.root=FOLDER."),
    (["dataset=image_folder", "dataset.root=/nowhere"], "dataset.root=/nowhere: no such folder. Write dataset.root=FOLDER."),
    (["dataset=image_folder", "dataset.on_bad_sample=skp"], "dataset.on_bad_sample=skp: expected one of error, skip. Did you mean skip?"),
    (["dataset=array", "++dataset.on_bad_sample=skip"], "dataset.on_bad_sample: unknown key."),
    (["dataset=array"], "dataset.path: no file given. Write dataset.path=FILE.npy."),
    (["dataset=array", "dataset.path=/nowhere.npy"], "dataset.path=/nowhere.npy: no such file. Write dataset.path=FILE.npy."),
    (["dataset=array", "dataset.path=conf"], "dataset.path=conf: is a folder. Write dataset.path=FILE.npy, or dataset=image_folder dataset.root=conf."),
    (["dataset=mnist", "dataset.root=/nowhere", "dataset.download=false"], "dataset.root=/nowhere: no such folder. Write dataset.root=FOLDER with MNIST in torchvision's layout."),
    (["dataset=mnist", "dataset.root=conf/config.yaml"], "dataset.root=conf/config.yaml: is a file, not a folder."),
    # the environment
    (["dataset=image_folder", "dataset.root=${oc.env:NOT_SET_AT_ALL}"], "dataset.root: the environment variable NOT_SET_AT_ALL is not set. Set NOT_SET_AT_ALL."),
    (["seed=${oc.env:NOT_SET_AT_ALL}"], "seed: the environment variable NOT_SET_AT_ALL is not set. Set NOT_SET_AT_ALL."),
    (["seed=${seed}"], "seed: Recursive interpolation detected."),
    (["seed=${nowhere:1}"], "seed: Unsupported interpolation type nowhere."),
    # classes
    (["model._target_=aeframe.cli.main.main"], "model._target_=aeframe.cli.main.main: only classes of torch.optim, of aeframe's parts and of plug-ins can be named here."),
    (["dataset._target_=aeframe.data.datamodule.DataModule"], "is not a subclass of Source."),
    (["network._target_=aeframe.networks"], "network._target_=aeframe.networks: only classes of"),
    (["model._target_=null"], "model._target_: does not name a class. Write model._target_=CLASS."),
    (["model._target_=3"], "model._target_=3: only classes of"),
    (["optimizer._target_=torch.optim.swa_utils.SWALR"], "only classes of torch.optim, of aeframe's parts and of plug-ins can be named here."),
    (["scheduler={_target_: torch.optim.lr_scheduler.LambdaLR}"], "scheduler._target_=torch.optim.lr_scheduler.LambdaLR: takes a Python function, which no configuration can hold. Write SequentialLR with schedulers and milestones, as in conf/config.yaml."),
    (["++constraint.mine={_target_: aeframe.constraints.Mine}"], "constraint.mine._target_=aeframe.constraints.Mine: no such class exists."),
    (["model._target_=os.system"], "model._target_=os.system: only classes of torch.optim, of aeframe's parts and of plug-ins can be named here."),
    (["model._target_=aeframe.models.Undercomplet"], "model._target_=aeframe.models.Undercomplet: no such class exists."),
    (["model._target_=aeframe.networks.MLP"], "model._target_=aeframe.networks.MLP: is not a subclass of Autoencoder."),
    (["optimizer._target_=torch.optim.Adm"], "optimizer._target_=torch.optim.Adm: no such class exists."),
    (["optimizer._target_=torch.optim.lr_scheduler.StepLR"], "is not a subclass of Optimizer."),
    # what is missing or of another shape
    (["scheduler=cosine"], "scheduler=cosine: expected keys and values."),
    (["until=5"], "until=5: expected keys and values."),
    (["optimizer=null"], "optimizer=null: expected keys and values."),
    (["optimizer.lr=abc"], "optimizer.lr=abc: expected a number. To change the rate during training, set scheduler: see conf/config.yaml."),
    (["scheduler={gamma: 0.9}"], "scheduler._target_: does not name a class. Write scheduler._target_=CLASS."),
    (["++until._target_=os.system"], "until._target_: unknown key."),
    (["likelihood._target_=aeframe.models.likelihoods.Likelihood"], "likelihood._target_=aeframe.models.likelihoods.Likelihood: is not a subclass of Likelihood."),
    (["dataset.val_fraction=0.5", "dataset.test_fraction=0.5"], "dataset.val_fraction=0.5: with dataset.test_fraction=0.5 it leaves nothing to train on. Write fractions whose sum is below 1."),
    (["++trainer.min_epochs=30", "trainer.max_epochs=2"], "trainer.min_epochs=30: is more than trainer.max_epochs=2."),
    (["model=sparse", "constraint.topk.k=2.5"], "constraint.topk: k=2.5 is not a whole number. Write 2 or 3."),
    (["model.latent_dim=${oc.decode:'10000000000000000000000'}"], "must be at most 16777216."),
    (["constraint=[bottleneck,contractive]", "network.norm=batch"], "network.norm=batch: contractive differentiates each sample's code by itself, but norm=batch mixes samples. Write network.norm=layer."),
    (["model=variational", "constraint=masking", "constraint.masking.emphasis_rest=0", "model.objective=importance_weighted"], "constraint.masking: masking weighs elements differently, but the importance-weighted bound needs equal weights."),
    (["hardware=fsdp", "constraint=[bottleneck,l1]"], "constraint=[bottleneck,l1]: l1 needs second derivatives, which hardware=fsdp does not support. Write hardware=ddp."),
    (["hardware=fsdp", "trainer.precision=bf16-mixed"], "trainer.precision=bf16-mixed: hardware=fsdp would round the normalization and the thresholds as well. Write trainer.precision=32-true."),
    (["hardware=fsdp", "constraint=[bottleneck,contractive]"], "constraint=[bottleneck,contractive]: contractive needs second derivatives, which hardware=fsdp does not support. Write hardware=ddp."),
    (["hardware=ddp_cpu", "dataset.batch_size=33"], "dataset.batch_size=33: is not a multiple of the number of processes, 2. Write dataset.batch_size=32."),
    (["++trainer.devices=2"], "trainer.devices: unknown key."),
    (["network.norm=batch", "dataset.batch_size=1"], "dataset.batch_size=1: norm=batch needs at least two samples to compute a variance. Write 2 or more, or network.norm=layer."),
    (["~seed"], "seed: is missing. Take it from conf/config.yaml."),
    (["~model.latent_dim"], "model.latent_dim: is missing. Write model.latent_dim=VALUE."),
    (["trainer=5"], "trainer=5: expected keys and values."),
    (["until=null"], "until=null: expected keys and values."),
    (["model.latent_dim=${nowhere}"], "Interpolation key 'nowhere' not found"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("overrides", "message"), MISTAKES, ids=[" ".join(o)[:70] for o, _ in MISTAKES]
)
def test_one_message_that_names_key_value_and_remedy(
    compose: Compose, overrides: list[str], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        check(compose(*overrides))
    lines = str(caught.value).splitlines()
    assert any(line.startswith(message) or message in line for line in lines), lines
    assert len(lines) <= 2, lines  # a mistake is not told over and over


def test_all_mistakes_at_once(compose: Compose) -> None:
    with pytest.raises(ConfigError) as caught:
        check(
            compose(
                "model=sparse",
                "constraint=[topk,jump_relu]",
                "++sead=1",
                "seed=x",
                "optimizer.lr=0",
                "network.activation=rellu",
                "dataset=array",
            )
        )
    assert [p.where for p in caught.value.problems] == [
        "sead",
        "seed=x",
        "network.activation=rellu",
        "dataset.path",
        "optimizer.lr=0",
        "constraint=[topk,jump_relu]",
    ]


def test_a_mistake_in_an_experiment_file_is_found(compose: Compose, tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(
        "# @package _global_\nmodel: {latent_dimm: 5}\n"
    )
    cfg = compose(f"hydra.searchpath=[file://{tmp_path}]", "experiment=mine")
    with pytest.raises(
        ConfigError, match=r"model\.latent_dimm: unknown key\. Did you mean latent_dim\?"
    ):
        check(cfg)


def test_checking_reads_no_data_and_touches_no_device(
    compose: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("data was read")

    monkeypatch.setattr("aeframe.data.builtin.builtin.MNIST.load", fail)
    check(compose("dataset=mnist", "hardware=gpu", "model=variational"))


@pytest.mark.parametrize(
    ("values", "overrides", "message"),
    [
        (np.linspace(0, 255, 400).reshape(100, 4), ["dataset.normalization=none", "likelihood=bernoulli"], "likelihood=bernoulli: needs values from 0 to 1, but the data goes from 0 to 255. Write dataset.normalization=unit, or likelihood=gaussian."),
        (np.where(np.arange(400).reshape(100, 4) == 77, np.nan, 1.0), [], "sample 19"),
        (np.random.default_rng(0).normal(size=(100, 4)), ["model.latent_dim=4"], "model.latent_dim=4: the code must be smaller than the 4 inputs."),
        (np.random.default_rng(0).normal(size=(100, 4)), ["model.latent_dim=2", "network=conv"], "network: convolutions need signals of C x L, images of C x H x W or volumes of C x D x H x W, but the samples are vectors of 4. Write network=mlp."),
        (np.random.default_rng(0).normal(size=(2, 4)), ["model.latent_dim=2"], "no samples are left to train on: of 2, validation takes 1 and the test 1."),
        (np.random.default_rng(0).normal(size=(100, 1)), ["model.latent_dim=1", "model.allow_overcomplete=true", "constraint=bottleneck"], ONE),
        (np.random.default_rng(0).normal(size=(100, 1)), ["model=variational", "model.latent_dim=1", "likelihood=gaussian", "constraint=bottleneck"], ONE),
    ],
    ids=["range", "nan", "size", "conv", "few", "one column", "one column, variational"],
)  # fmt: skip
def test_mistakes_that_only_the_data_shows(
    compose: Compose, tmp_path: Path, values: np.ndarray, overrides: list[str], message: str
) -> None:
    np.save(tmp_path / "a.npy", values)
    path = f"dataset.path={tmp_path / 'a.npy'}"
    small = [] if any("latent_dim" in o for o in overrides) else ["model.latent_dim=2"]
    cfg = compose("dataset=array", path, "constraint=[]", *small, *overrides)
    with pytest.raises(UserError) as caught:
        build(cfg)
    assert message in str(caught.value)
