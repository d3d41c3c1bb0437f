"""Make docs/comparing.md and its picture: how a ratio is taken apart, and published ones run again. Never by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from roofline.insight.compare import compare
from roofline.insight.mixtures import LEVERS
from roofline.insight.studies import Rerun, rerun, study
from roofline.report.files import save_figure
from roofline.report.tables import compact
from roofline.report.waterfall import comparison_picture

if TYPE_CHECKING:
    from collections.abc import Iterable

    import xarray as xr

FOLDER = Path(__file__).parent
PAGE = FOLDER / "comparing.md"
PICTURE = FOLDER / "img" / "comparing.png"
SPLIT_AT = (20, 50, 75, 110)
"""Those of the second study."""

SHOWN = (20, 35, 50, 60, 80, 110, 150, 200)
"""Tokens/s of a user in the tables."""


def said(value: float) -> str:
    """Three digits, or n/a."""
    return "n/a" if math.isnan(value) else compact(value, 3)


def table(header: Iterable[str], rows: Iterable[Iterable[str]], words: int = 1) -> str:
    """A table of a page whose first columns are words."""
    header = list(header)
    rule = ["---"] * words + ["---:"] * (len(header) - words)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [header, rule, *rows])


def levers() -> str:
    """All levers with what they move."""
    return table(["group", "lever", "what it moves"], [[one.group, f"`{one.name}`", one.meaning] for one in LEVERS], 3)


def sums(found: Rerun) -> str:
    """The arithmetic of a claim."""
    rows = [
        [
            one.what,
            one.how,
            f"{said(one.value)} {one.units}".strip(),
            "" if one.published is None else said(one.published),
        ]
        for one in found.sums
    ]
    return table(["what", "how", "value", "published"], rows, 2)


def levels(ds: xr.Dataset) -> list[list[str]]:
    """Levels and ratios at SHOWN, a row each."""
    rows = []
    for x in SHOWN:
        one = ds.sel(interactivity=float(x))
        total = one["total_tokens_per_s_per_gpu"]
        row = [str(x), *(said(float(total.sel(side=side))) for side in ("old", "new"))]
        row += [
            said(float(one[f"ratio_{name}"])) for name in ("tokens_per_s_per_gpu", "tokens_per_mwh", "tokens_per_usd")
        ]
        rows.append(row)
    return rows


def baselines(*parts: xr.Dataset) -> list[list[str]]:
    """Ratios of tokens/MWh at SHOWN by what the old side may do; what is said twice stands once."""
    rows: dict[str, list[str]] = {}
    for ds in parts:
        for name, ratio in zip(ds["baseline"].values, ds["baseline_ratio"].values, strict=True):
            x = ds["interactivity"].values
            cells = [said(float(ratio[np.flatnonzero(x == at)[0]])) for at in SHOWN]
            if cells not in rows.values():
                rows.setdefault(str(name), cells)
    return [[name, *cells] for name, cells in rows.items()]


def factors(ds: xr.Dataset) -> list[list[str]]:
    """Factor, alone and last of each lever, a row each, and their product."""
    rows = [
        [
            str(one["lever"].item()),
            *(said(float(one[name])) for name in ("factor", "alone", "last")),
            str(one["levers_moved"].item()),
        ]
        for one in (ds.isel(lever=n) for n in range(ds.sizes["lever"]))
    ]
    return [*rows, ["all", said(float(ds.attrs["ratio"])), "", "", ""]]


def split(found: dict[int, Rerun]) -> list[list[str]]:
    """Our factors at several speeds beside the published ones, by group."""
    published = next(iter(found.values())).factors
    rows = [
        [name, *(said(one.factors[name][0]) for one in found.values()), said(theirs)]
        for name, (_, theirs) in published.items()
    ]
    ours = [said(float(one.ds.attrs["ratio"])) for one in found.values()]
    return [*rows, ["product", *ours, said(math.prod(theirs for _, theirs in published.values()))]]


def places(found: Rerun) -> str:
    """Where the claim sits on our curves, a line each."""
    lines = []
    for one in found.places:
        at = ", ".join(f"{x:.0f}" for x in one.at)
        lines.append(
            f"- {one.what} {said(one.value)}: " + (f"ours at {at} tokens/s of a user" if at else "nowhere on our curve")
        )
    return "\n".join(lines)


TEXT = """# Comparing: what a ratio is made of

A new system makes so many times more of a megawatt-hour than an old one. `compare` says how many times at each speed of
the user, and at one speed what the ratio is made of: silicon, interconnect, orchestration, facility. Published ratios
ship as studies that rerun. Made by `python docs/make_comparing.py`.

```sh
roofline compare dgx-h200 gb300-nvl72 --model deepseek-r1 --isl 1024 --osl 1024 --at 50
roofline compare dgx-h200 gb300-nvl72 --model deepseek-r1 --one-domain --acceptance 0.8,0.55 --out x.png
roofline compare --study gb300-over-hopper
```

```python
import roofline as rl

old = rl.System.load("dgx-h100").replace(name="H100 with more memory", accelerator__memory__bytes=150e9)
asked = {{"model": "llama-3.1-8b", "isl": 1024, "osl": 256, "most_accelerators": 1}}
ds = rl.compare(old, "dgx-b200", at=60, interactivity=[20, 60, 120], **asked)
print(ds["ratio_tokens_per_mwh"].to_series())
print(ds[["factor", "alone", "last"]].to_dataframe())
assert abs(float(ds["factor"].prod()) / float(ds.attrs["ratio"]) - 1) < 1e-9
```

## What is compared

Two *sides*: a system each, and what runs on it (modes, drafts kept, prefix cache, duty, stack, price). At every
interactivity x the limit of TPOT is 1/x; other limits stand beside it. The best of each side is searched as `plan` does
([planning.md](planning.md)): for tokens/MWh by energy, for tokens/s per accelerator and tokens per USD by throughput.
Both sides choose from the same deployments: replicas of as many accelerators as the larger scale-up domain joins, over
NICs where a domain is smaller, or with `across=False` (`--one-domain`) within one domain.

A ratio needs its levels: the result holds both, in output and in total tokens. A figure of one boundary, basis, token
basis or vintage over one of another is no ratio; a comparison has one of each.

## How it is taken apart

{levers}

For every set of levers a *mixture* is made: a `System` whose parts come from the new side where their lever is moved,
else from the old one. `flops` scales all rates; `formats` decides which there are and how they stand to each other.
Watts beside the accelerators are counted for each accelerator, so that a rack may have the hosts of a box; of
provisioned watts `watts` moves the TDP and `hosts` the rest. In each of the 2^k mixtures recipe, mode, deployment,
batch and drafts are searched again under the same limits. With v(S) the best of the mixture in which the levers S are
moved,

    phi_i = sum over S without i of |S|!*(k - 1 - |S|)!/k! * ( ln v(S + i) - ln v(S) ) ;  factor_i = exp(phi_i)  (30)
    product of factor_i = v(all)/v(none) ;  alone_i = v(i)/v(none) ;  last_i = v(all)/v(all without i)           (31)

(Shapley 1953, of the logarithm.) It is the one split that is complete, treats alike what acts alike, gives nothing to
what does nothing, and adds up over games. It is a convention all the same: where *alone* and *last* are far apart,
levers work through each other, and no split says what would have happened without one of them. Read all three.

By default the levers of silicon are moved one by one, and each other group as a whole; `levers` names others. What does
not differ is no lever.

**Mixtures that miss the limits.** A system with half of its parts from a slower one may not reach x at all. Then v is
undefined, and so is every factor: there is no floor value. The factors are those at the largest interactivity of the
curve that all mixtures reach (`at_reported`), and `undefined` names who missed what, by how much.

**What the old side may do** is in the ratio as much as the systems are. `baseline_ratio` gives it again for an old side
whose replicas stay within one scale-up domain, which drafts nothing, or which serves aggregated alone.

## 50 times: GB300 NVL72 over Hopper

`roofline compare --study gb300-over-hopper`. The claim: {says}. Its arithmetic is one ratio of throughput and two
constants, in {tokens} tokens (input and output) and in watts provisioned:

    tokens/MWh ratio = r_new/r_old * W_old/W_new ;  tokens/USD ratio = r_new/r_old * p_old/p_new                 (32)

<!-- sums -->
{sums}

The watts are of one vintage. In the next one the same throughput is {later}x; a ratio over two vintages would be of
nothing. {usd:.2f} USD a million tokens are {from_usd:.0f} tokens/s, so that 90 is itself rounded.

Ours, DeepSeek-R1 at 1k/1k, MTP on both sides (tau = {tau:.2f} tokens a step with three drafts), H200 within one box,
facility, provisioned ({vintage}), TTFT at most 10 s; tokens/s of an accelerator are total tokens:

<!-- levels -->
{levels}

{places}

So the two levels that were published are not ours at any one speed of the user: our H200 comes down to its 90 at
{x_old}, our GB300 to its 6,000 at {x_new}. There the ratio is between {low} and {high}; at 8k/1k, wherever both reach,
it is {long_low} to {long_high}.

What the H200 was allowed to run decides more than what it is. The same, over old sides that may do more or less:

<!-- baselines -->
{baselines}

With experts spread over up to eight boxes (64 accelerators and their NICs) and MTP, the ratio at {at} tokens/s of a
user is {across}; in one box {within}; in one box without MTP {bare}.

![GB300 NVL72 over HGX H200](img/comparing.png)

At {at} tokens/s of a user, {mixtures} mixtures:

<!-- factors -->
{factors}

## 5 x 3.3 x 3

`roofline compare --study ai-factory-split`. The split was published as an illustration, without arithmetic. Beside it
ours, with the old side as such a split takes it: one box, aggregated, no MTP; the new one with two pools and MTP; at
four speeds of the user:

<!-- split -->
{split}

A product near 50 is found at one speed, and factors near the published ones with it; at others neither is. It is not
a confirmation: another old side, or another speed, gives another split, and none was published with the claim. The
fourth factor is the rest of the provisioned watts, of which the rack has fewer beside its larger TDP (in silicon).

## 8 times: B200 over H100

`roofline compare --study b200-over-hopper`. Called illustrative where it stands; model, lengths and speed are not said.

{b200}

On DeepSeek-R1 in FP8 the H100 needs two boxes. The largest ratio of the curve is {b200_most}.

## 35 times: Vera Rubin with Groq 3 LPX

`roofline compare --study rubin-lpx`. No watts of the LPX rack are published, so that tokens/MWh of the pair is NaN, and
the claim can be neither confirmed nor refuted in its own unit. What can be said: at R tokens a second of the pair, and
35 times what GB300 makes of a provisioned watt, so many watts are left for each LPU:

<!-- watts -->
{watts}

Below 0 the Rubin accelerators alone provision more than the claim allows: against GB300 with MTP the claim is then out
of reach at that speed. But {bare_lpx}. It rests
on kernels of the LPU that nobody has measured (factors of two and three either way), on a model of 671 billion
parameters where the claim is about a trillion, and on lengths of 1k/1k.

## A study of your own

```yaml
name: H200 over H100
claim:
  says: 1.4 times the tokens
  source: where it stands
  tokens: output                    # or total
  old: {{tokens_per_s_per_gpu: 1000, provisioned_w: 1730, usd_per_hour: 1.30}}
  new: {{tokens_per_s_per_gpu: 1400, provisioned_w: 1730, usd_per_hour: 1.41}}
  ratios: {{tokens_per_mwh: 1.4}}
compare: {{old: dgx-h100, new: dgx-h200, model: llama-3.1-8b, isl: 512, osl: 128, at: 50}}
```

`compare` takes the keywords of the function; `old` and `new` a system or a side. `roofline compare --study FILE.yaml`.

## What it leaves out

- Bands: a ratio is better than its levels where errors are common to both, and not where they are not
  ([frontiers.md](frontiers.md) sets both beside measurements). The default stack stands for both sides.
- `formats` brings recipes the model ships in that the mixture computes as meant; weight-only FP4 on a part without FP4
  is tried where `recipes` names it.
- `kernels` is not silicon alone: shares that kernels reach are those of the libraries measured.
- Acceptance of drafts is the same on both sides unless a side says otherwise, and a choice, not a measurement.
- Prices of accelerator-hours, energy in them, are those of a sheet (`prices=`, `tier=`; default `semianalysis-v1`,
  `hyperscaler`, or the sheet of the vintage of the watts) or given; nothing depreciates here. Where the sheet has none
  of a side, nothing is said per USD. Hours without work are paid too (`load` of a side).
"""


def page(parts: dict[str, Any]) -> str:
    """The text of docs/comparing.md.   parts : what `parts` gives."""
    hopper: Rerun = parts["hopper"]
    ds, claim = hopper.ds, hopper.study.claim
    at = float(ds.attrs["at_reported"])
    mwh = {x: float(ds["ratio_tokens_per_mwh"].sel(interactivity=x)) for x in ds["interactivity"].values}
    x_old, x_new = (next(one for one in hopper.places if one.what.endswith(side)).at for side in (", old", ", new"))
    reach = [float(v) for v in np.interp([x_new[-1], x_old[-1]], list(mwh), list(mwh.values()))]
    long = parts["long"]["ratio_tokens_per_mwh"].dropna("interactivity").values
    acceptance = hopper.study.compare["acceptance"]
    rows = baselines(parts["across"], ds)
    place = 1 + SHOWN.index(int(at))
    bare = next(row[place] for row in rows if row[0] == "replicas within one domain of 8, no drafts")
    lpx: Rerun = parts["lpx"]
    b200 = parts["b200"]
    return TEXT.format(
        levers=levers(),
        says=claim.says,
        tokens=claim.tokens,
        sums=sums(hopper),
        later=said(next(one.value for one in hopper.sums if "2026" in one.what)),
        tau=1.0 + sum(math.prod(acceptance[: n + 1]) for n in range(len(acceptance))),
        vintage=ds.attrs["vintage"],
        usd=claim.old["usd_per_million_tokens"],
        from_usd=1e6 * claim.old["usd_per_hour"] / (3600.0 * claim.old["usd_per_million_tokens"]),
        levels=table(
            ["tok/s of a user", "H200, tok/s", "GB300, tok/s", "x tok/s", "x tokens/MWh", "x tokens/USD"], levels(ds), 0
        ),
        places=places(hopper),
        x_old=f"{x_old[-1]:.0f}",
        x_new=f"{x_new[-1]:.0f}",
        low=said(min(reach)),
        high=said(max(reach)),
        long_low=said(float(long.min())),
        long_high=said(float(long.max())),
        baselines=table(["the H200 may", *map(str, SHOWN)], rows),
        at=f"{at:g}",
        across=rows[0][place],
        within=said(mwh[at]),
        bare=bare,
        mixtures=ds.attrs["mixtures"],
        factors=table(["lever", "factor", "alone", "last", "moved"], factors(ds)),
        split=table(["group", *(f"ours at {x}" for x in parts["split"]), "published"], split(parts["split"])),
        b200=places(b200),
        b200_most=said(float(b200.ds["ratio_tokens_per_mwh"].max())),
        watts=table(
            ["tok/s of a user", "W for each LPU"],
            [[f"{x:g}", f"{watts:.0f}"] for x, watts in lpx.watts_left.items()],
            0,
        ),
        bare_lpx=parts["bare"],
    )


def bare_lpx() -> str:
    """What is left for an LPU where GB300 drafts nothing, at the fastest it then reaches, in words."""
    asked = study("rubin-lpx")
    old = {"system": asked.compare["old"]["system"], "acceptance": None}
    given = {**asked.compare, "old": old, "interactivity": [125, 150], "at": 150, "attribution": False}
    found = rerun({"name": asked.name, "claim": {**vars(asked.claim)}, "compare": given})
    words = [f"{watts:.0f} W at {x:g}" for x, watts in found.watts_left.items()]
    return f"against GB300 without MTP, {' and '.join(words)} tokens/s of a user are left"


def parts() -> dict[str, Any]:
    """Everything the page is made of; about a minute."""
    hopper = study("gb300-over-hopper").compare
    old, new = hopper["old"], hopper["new"]
    alike = {key: value for key, value in hopper.items() if key not in ("old", "new", "across")}
    return {
        "hopper": rerun("gb300-over-hopper"),
        "across": compare(old, new, **alike, attribution=False),
        "long": compare(old, new, **{**alike, "isl": 8192, "across": False}, attribution=False),
        "split": {x: rerun("ai-factory-split", at=x, interactivity=(x,)) for x in SPLIT_AT},
        "b200": rerun("b200-over-hopper", attribution=False),
        "lpx": rerun("rubin-lpx", attribution=False),
        "bare": bare_lpx(),
    }


if __name__ == "__main__":
    made = parts()
    PAGE.write_text(page(made), encoding="utf-8")
    save_figure(comparison_picture(made["hopper"].ds), PICTURE)
