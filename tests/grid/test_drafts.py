"""Speculation: drafts of a step, what they cost and what they yield."""

from __future__ import annotations

import numpy as np
import pytest

import roofline as rl
from roofline.grid.drafts import drafts_of
from roofline.layout import Limit

CELL = {"tp": 8, "ep": 8, "batch": [1, 16], "context": [2048, 32768]}


def decode(**changes):
    return rl.decode("deepseek-r1", "dgx-b200", "fp8-block", **(CELL | changes)).squeeze()


def test_tokens_per_step_is_a_sum_over_runs_of_accepted_drafts() -> None:
    assert drafts_of(3, [0.8, 0.5, 0.25]).tokens_per_step == pytest.approx(1 + 0.8 + 0.4 + 0.1)
    assert drafts_of(2, 0.5).tokens_per_step == 1.75
    assert drafts_of(1, [0.9]).tokens_per_step == 1.9
    assert drafts_of(0, None).tokens_per_step == 1.0


def test_no_drafts_is_no_speculation_to_the_bit() -> None:
    plain, none = decode(), decode(drafts=0, acceptance=[])
    for name in plain.data_vars:
        np.testing.assert_array_equal(plain[name], none[name])


def test_drafts_that_are_never_kept_only_cost() -> None:
    plain, wasted = decode(), decode(drafts=2, acceptance=0.0)
    assert (wasted["tpot"] > plain["tpot"]).all()
    assert (wasted["joules_per_token"] > plain["joules_per_token"]).all()
    np.testing.assert_allclose(wasted["tpot"], wasted["step_time"])


def test_a_step_with_drafts_is_a_check_and_its_drafts() -> None:
    """More than the check alone; by the same for every further draft, but for what the wider check costs."""
    check = rl.decode("deepseek-r1", "dgx-b200", "fp8-block", new_tokens=2, **CELL).squeeze()
    one = decode(drafts=1, acceptance=0.7)
    assert (one["step_time"] > check["step_time"]).all()
    assert (one["step_time"] < 1.2 * check["step_time"] + 1e-3).all()  # one layer of 61, an lm_head, an embedding
    np.testing.assert_allclose(one["tpot"], one["step_time"] / 1.7, rtol=1e-12)
    np.testing.assert_allclose(one["tokens_per_s_per_user"], 1.7 / one["step_time"], rtol=1e-12)
    assert (one["memory"] > check["memory"]).all()


def test_accepted_drafts_pay_where_weights_bind() -> None:
    plain, drafted = decode(batch=4), decode(batch=4, drafts=1, acceptance=0.85)
    assert (drafted["tpot"] < plain["tpot"]).all()
    assert drafted.attrs["drafts"] == "1"
    assert drafted.attrs["acceptance"] == "0.85"
    assert drafted.attrs["tokens_per_step"] == "1.85"
    assert drafted.attrs["token_basis"] == "output"


def test_a_model_without_draft_layers_says_so() -> None:
    ds = rl.decode(["llama-3.1-8b", "deepseek-v3"], "dgx-b200", "bf16", tp=8, ep=1, drafts=1, acceptance=0.7)
    limits = ds["limit"].sel(model="llama-3.1-8b")
    assert (limits == Limit.DRAFT).all()
    assert ds["tpot"].sel(model="llama-3.1-8b").isnull().all()


def test_drafts_take_room_from_sequences() -> None:
    where = {"tp": 8, "ep": 8, "context": 8192}
    plain = rl.largest_batch("deepseek-r1", "dgx-b200", "fp8-block", **where)
    drafted = rl.largest_batch("deepseek-r1", "dgx-b200", "fp8-block", drafts=2, **where)
    assert 0 < drafted.item() < plain.item()


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"drafts": 2}, "acceptance: give the chance"),
        ({"drafts": -1}, "drafts: -1 is not a whole number from 0"),
        ({"drafts": 2, "acceptance": [0.8]}, "acceptance: 1 positions for 2 drafts"),
        ({"drafts": 1, "acceptance": [0.8, 0.6]}, "acceptance: 2 positions for 1 drafts"),
        ({"acceptance": 0.8}, "acceptance: given without drafts"),
        ({"drafts": 1, "acceptance": 1.2}, r"acceptance\[0\]: 1.2 is not a share"),
        ({"drafts": 1, "acceptance": [float("nan")]}, r"acceptance\[0\]: nan is not a share"),
        ({"drafts": 1, "acceptance": 0.5, "new_tokens": 2}, "drafts: give either drafts"),
    ],
)
def test_bad_drafts_are_refused(bad, said) -> None:
    with pytest.raises(rl.InputError, match=said):
        decode(**bad)
