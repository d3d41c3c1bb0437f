"""The sheets that come with roofline, packed as the product packs them: the oracle agrees and the laws hold."""

from __future__ import annotations

from functools import cache
from math import isclose
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numba.core import config as numba_config

from roofline.kernels.outputs import Var
from roofline.layout import CONFIG, Limit
from roofline.specs import Model, Recipe, System
from roofline.specs.pack import pack, pack_deployments
from roofline.testing import invariants as law
from roofline.testing.records import Records, Setup
from roofline.testing.runs import run_decode, run_prefill
from tests.oracle import decode, limit_of, memory_of, plain_case, prefill

ROOT = Path(__file__).parents[2]
DEPLOYMENTS = [(1, 1, 1, 1, 1), (4, 1, 1, 1, 4), (8, 1, 1, 8, 1), (2, 2, 2, 2, 2), (1, 1, 8, 8, 1), (1, 1, 32, 32, 1)]
BATCHES, CONTEXTS = [1, 48, 700], [1000, 32768]
COMPILED = not numba_config.DISABLE_JIT
SAMPLE = 150 if COMPILED else 12
STRIDE = 1 if COMPILED else 41  # uncompiled kernels look at a few configurations from all over the grid


def sheets(folder: str) -> list[str]:
    return sorted(path.stem for path in (ROOT / folder).glob("*.yaml"))


@cache
def records(fidelity: Any) -> Records:
    """All models x systems x recipes x deployments."""
    models = [Model.load(name) for name in sheets("model_specs")]
    systems = [System.load(name) for name in sheets("hardware_specs/systems")]
    recipes = [Recipe.load(name) for name in sheets("model_specs/recipes")]
    packed = pack(models, systems, recipes, fidelity)
    index = np.indices((len(models), len(systems), len(recipes), len(DEPLOYMENTS))).reshape(4, -1)
    configs = np.zeros(index.shape[1], CONFIG)
    configs["model"], configs["machine"], configs["deployment"] = index[0], index[1], index[3]
    configs["kit"] = packed.kit_index[index[0], index[1], index[2]]
    deployments = pack_deployments(DEPLOYMENTS)
    return Records(packed.models, packed.layers, packed.machines, packed.kits, deployments, configs[::STRIDE].copy())


def some_setups(fidelity: str) -> list[tuple[int, Setup]]:
    """(config number, setup) of configurations spread over the whole grid, of those that run."""
    every = records(fidelity)
    runs = np.flatnonzero(run_decode(every, [1], [1000], want=[Var.STEP]).limit[:, 0, 0] == Limit.NONE)
    chosen = np.random.default_rng(7).choice(runs, SAMPLE, replace=False)
    return [(int(i), Setup(*plain_case(*every.arguments()[:5], every.configs[i]))) for i in sorted(chosen)]


def same(a: float, b: float) -> bool:
    """Equal up to rounding, or both unknown: energy where the watts of a part are undisclosed."""
    return isclose(a, b, rel_tol=1e-12) or (np.isnan(a) and np.isnan(b))


@pytest.mark.parametrize("fidelity", ["ideal", "kernel"])
def test_decode_of_shipped_sheets_agrees_with_the_oracle(fidelity: str) -> None:
    checked = 0
    for number, setup in some_setups(fidelity):
        run = run_decode(records(fidelity).only([number]), BATCHES, CONTEXTS)
        for b, batch in enumerate(BATCHES):
            for c, context in enumerate(CONTEXTS):
                expected = decode(setup.model, setup.machine, setup.kit, setup.deployment, batch, context)
                assert run.limit[0, b, c] == expected["limit"]
                if expected["limit"] == Limit.NONE:
                    assert isclose(run.step[0, b, c], expected["step"], rel_tol=1e-12)
                    assert same(run[Var.ENERGY][0, b, c], expected["joules_per_token"])
                    assert isclose(run[Var.MEMORY][0, b, c], expected["memory"]["total"], rel_tol=1e-12)
                    checked += 1
    assert checked > SAMPLE


@pytest.mark.parametrize("fidelity", ["ideal", "kernel"])
def test_prefill_of_shipped_sheets_agrees_with_the_oracle(fidelity: str) -> None:
    checked = 0
    for number, setup in some_setups(fidelity)[:: 3 if COMPILED else 1]:
        run = run_prefill(records(fidelity).only([number]), [1, 5], [9000], 1000, 3000)
        for b, batch in enumerate((1, 5)):
            expected = prefill(setup.model, setup.machine, setup.kit, setup.deployment, batch, 9000, 1000, 3000)
            assert run.limit[0, b, 0] == expected["limit"]
            if expected["limit"] == Limit.NONE:
                assert isclose(run.step[0, b, 0], expected["time"], rel_tol=1e-12)
                assert same(run[Var.ENERGY][0, b, 0], expected["joules_per_token"])
                checked += 1
    assert checked > SAMPLE / 6


@pytest.mark.parametrize("fidelity", ["ideal", "kernel"])
def test_bytes_of_every_shipped_configuration_are_those_of_the_oracle(fidelity: str) -> None:
    """Weights, cache, states and activations of every model x system x recipe x deployment, and why one cannot run."""
    every = records(fidelity)
    batch, context = 48, 9000
    run = run_decode(every, [batch], [context], want=[Var.STEP, Var.MEMORY])
    arrays = every.arguments()[:5]
    checked = 0
    for i, config in enumerate(every.configs):
        limit = Limit(int(run.limit[i, 0, 0]))
        if limit not in (Limit.NONE, Limit.MEMORY):
            assert np.isnan(run.step[i, 0, 0])
            continue
        model, machine, kit, deployment = plain_case(*arrays, config)
        held = memory_of(model, machine, kit, deployment, batch, 1, context, False)
        assert isclose(run[Var.MEMORY][i, 0, 0], held["total"], rel_tol=1e-12)
        assert held["fits"] == (limit == Limit.NONE)
        assert np.isfinite(run.step[i, 0, 0]) == (limit == Limit.NONE)
        checked += 1
    assert checked > every.configs.size / 5


@pytest.mark.parametrize("fidelity", ["ideal", "kernel"])
def test_every_refusal_of_a_shipped_configuration_is_the_oracles(fidelity: str) -> None:
    """Each reason, on each of the configurations that have it, up to a hundred of them."""
    every = records(fidelity)
    run = run_decode(every, [48], [9000], want=[Var.STEP])
    found = run.limit[:, 0, 0]
    for code in np.unique(found):
        for i in np.flatnonzero(found == code)[:: max(1, int((found == code).sum()) // 100)]:
            case = plain_case(*every.arguments()[:5], every.configs[i])
            assert limit_of(*case, 48, 1, 9000, False) == Limit(int(code))
    assert {Limit.NONE, Limit.MEMORY, Limit.KV_HEADS, Limit.EXPERTS, Limit.CONTEXT} <= {Limit(int(c)) for c in found}


def test_no_shipped_configuration_beats_ideal() -> None:
    """Every model, system, recipe and deployment at once."""
    ideal, kernel = (run_decode(records(fidelity), BATCHES, CONTEXTS) for fidelity in ("ideal", "kernel"))
    assert (ideal.ran & kernel.ran).sum() > 1000 / STRIDE
    law.at_least("no fidelity is faster than ideal", kernel.step, ideal.step)
    prompts = [run_prefill(records(f), [1, 8], [512, 8192], 0, 4096) for f in ("ideal", "kernel")]
    law.at_least("no prompt is faster than ideal", prompts[1].step, prompts[0].step)


@pytest.mark.parametrize("fidelity", ["ideal", "kernel"])
def test_all_shipped_configurations_obey_the_laws(fidelity: str) -> None:
    """Those that are checked on results: missing values, shares, power, growth with load, capacity."""
    every = records(fidelity)
    run = run_decode(every, BATCHES, CONTEXTS)
    law.missing_means_limited(run, every)
    law.utilisation_is_a_share(run)
    law.draw_lies_between_idle_and_tdp(run, every, np.array(BATCHES, dtype=np.float64)[None, :, None])
    law.time_grows_with_load(run, every)
    law.capacity_is_a_threshold(run, every)


def test_a_few_shipped_setups_obey_every_law() -> None:
    """The changed-and-run-again laws, on records of real sheets."""
    for fidelity in ("ideal", "kernel"):
        for _, setup in some_setups(fidelity)[:: SAMPLE // 5]:
            assert law.every_decode_law(setup, BATCHES, CONTEXTS).ran.any()
