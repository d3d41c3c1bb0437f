"""`roofline.heatmap` from Python: what it takes, and what it says about `out`."""

from __future__ import annotations

from pathlib import Path

import pytest
import xarray as xr

import roofline as rl
from roofline.report import headline


def test_single_names_paths_and_sheets_are_taken() -> None:
    small = {"batch_per_gpu": 8, "context": 2048}
    named = rl.heatmap("llama-3.3-70b", "hgx-h100", **small)
    listed = rl.heatmap(["llama-3.3-70b"], [rl.System.load("hgx-h100")], recipes=None, **small)
    xr.testing.assert_identical(named.drop_attrs(), listed.drop_attrs())
    assert named["system_grade"].values.tolist() == [headline.weakest_grade("hgx-h100")]


@pytest.mark.parametrize("name", ["x.xlsx", "no/such/x.png"])
def test_a_bad_out_is_refused_before_any_work(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import roofline.rack

    def unwanted(**_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(roofline.rack, "best_over_deployments", unwanted)
    with pytest.raises(rl.InputError, match=r"^out ") as caught:
        rl.heatmap("llama-3.3-70b", "hgx-h100", out=tmp_path / name)
    assert "--out" not in str(caught.value)
