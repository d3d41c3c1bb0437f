"""Facts of the built-in hardware sheets, typed here a second time from their sources."""

import pytest

from roofline.specs import Accelerator, Efficiency, Facility, System, list_specs

SYSTEMS = list_specs("system")
DISCLOSED = [stem for stem in SYSTEMS if not System.load(stem).power_unknown]
NETWORKS = {
    "helios-mi455x": (72, "rack"),
    "groq3-lpx": (256, "rack"),
    "ironwood-rack": (64, "rack"),
    "ironwood-pod": (9216, "pod"),
    "rubin-ultra-kyber": (144, "rack"),
    "vr-nvl144-cpx": (1, "rack"),
}
IN_SWITCH = {
    *("dgx-h100", "dgx-h200", "dgx-b200", "dgx-b300", "hgx-rubin-nvl8", "gb200-nvl72", "gb300-nvl72", "vr-nvl72"),
    *("hgx-h800", "vr-nvl72-max-p", "rubin-ultra-kyber"),
}
SWITCHED = ["dgx-h100", "dgx-h200", "dgx-b200", "dgx-b300", "gb200-nvl72", "gb300-nvl72", "vr-nvl72"]


def dc_watts_at_tdp(system):
    return system.accelerators * system.accelerator.power.tdp_w + system.power.host_w


def wall_watts_at_tdp(system):
    """Over the supplies' efficiency at that load, by hand between the two points around it."""
    dc = dc_watts_at_tdp(system)
    psu = system.power.psu
    load = dc / psu.rated_w
    (x0, y0), (x1, y1) = next(
        (a, b)
        for a, b in zip(
            zip(psu.load, psu.efficiency, strict=True),
            list(zip(psu.load, psu.efficiency, strict=True))[1:],
            strict=False,
        )
        if a[0] <= load <= b[0]
    )
    return dc / (y0 + (y1 - y0) * (load - x0) / (x1 - x0))


@pytest.mark.parametrize(
    ("stem", "math", "dense"),
    [
        ("h100-sxm", "bf16", 989.4e12),
        ("h100-sxm", "fp8", 1978.9e12),
        ("h200-sxm", "bf16", 989.4e12),
        ("b200-hgx", "fp4", 9e15),
        ("gb200", "fp4", 10e15),
        ("b300-hgx", "fp4", 13.5e15),
        ("gb300", "fp4", 15e15),
        ("gb300", "fp8", 5e15),
        ("rubin-vr200", "fp4", 35e15),
        ("mi300x", "fp8", 2614.9e12),
        ("mi355x", "fp4", 10.066e15),
        ("a100-80-sxm", "bf16", 312e12),
        ("l40s", "fp8", 733e12),
        ("h100-pcie", "fp8", 1513e12),
        ("h200-nvl", "fp8", 1670e12),
        ("h20", "bf16", 148e12),
        ("l4", "fp8", 242e12),
        ("b100", "fp4", 7e15),
        ("rtx-pro-6000-bw-server", "fp4", 1871e12),
        ("rtx-pro-4500-bw-server", "fp4", 808.4e12),
        ("arc-pro-b50", "int8", 170.4e12),
        ("arc-pro-b60", "int8", 196.6e12),
        ("arc-pro-b70", "int8", 367e12),
        ("rubin-cpx", "fp4", 20e15),
        ("mi350x", "fp4", 9.228e15),
        ("mi455x", "fp4", 40e15),
        ("gaudi3", "fp8", 1835e12),
        ("tpu-v5p", "bf16", 459e12),
        ("tpu7x-ironwood", "fp8", 4614e12),
        ("trn2", "fp8", 1299e12),
        ("trn3", "fp4", 2517e12),
        ("groq-lpu-v1", "int8", 750e12),
        ("groq3-lp30", "fp8", 1230e12),
    ],
)
def test_peaks_are_dense(stem, math, dense):
    assert Accelerator.load(stem).dense_flop_per_s[math] == dense


@pytest.mark.parametrize(
    ("stem", "ridge"), [("h100-sxm", 295.3), ("h200-sxm", 206.1), ("b200-hgx", 293.3), ("gb300", 312.5)]
)
def test_ridge_point_in_bf16(stem, ridge):
    part = Accelerator.load(stem)
    assert part.dense_flop_per_s["bf16"] / part.memory.bytes_per_s == pytest.approx(ridge, abs=0.1)


@pytest.mark.parametrize(
    ("stem", "both_ways"),
    [
        ("h100-sxm", 900e9),
        ("b200-hgx", 1.8e12),
        ("rubin-vr200", 3.6e12),
        ("mi355x", 1075.2e9),
        ("h800-sxm", 400e9),
        ("gaudi2", 2 * 21 * 100e9 / 8),
        ("gaudi3", 2 * 21 * 200e9 / 8),
        ("tpu-v5e", 1600e9 / 4),
        ("tpu-v5p", 4800e9 / 4),
        ("trn2", 1.28e12),
        ("mi455x", 3.6e12),
        ("groq3-lp30", 2.5e12),
    ],
)
def test_links_are_one_way(stem, both_ways):
    assert 2 * Accelerator.load(stem).scale_up_bytes_per_s == both_ways


def test_memory_is_what_the_driver_reports():
    assert Accelerator.load("h100-sxm").memory.bytes == 80 * 2**30
    assert Accelerator.load("h200-sxm").memory.bytes / 2**30 == pytest.approx(139.81, abs=0.05)
    assert Accelerator.load("b200-hgx").memory.bytes / 2**30 == pytest.approx(178.35, abs=0.05)


def test_blackwell_ultra_gains_fp4_and_loses_int8():
    for before, after in (("b200-hgx", "b300-hgx"), ("gb200", "gb300")):
        old, new = (Accelerator.load(stem).dense_flop_per_s for stem in (before, after))
        assert new["fp4"] == pytest.approx(1.5 * old["fp4"])
        assert new["int8"] < old["int8"] / 25
        assert new["bf16"] == old["bf16"]


def test_max_q_and_max_p_differ_in_watts_alone():
    quiet, fast = Accelerator.load("rubin-vr200"), Accelerator.load("rubin-vr200-max-p")
    assert (quiet.power.tdp_w, fast.power.tdp_w) == (1800, 2300)
    assert quiet.dense_flop_per_s == fast.dense_flop_per_s
    assert quiet.memory == fast.memory


@pytest.mark.parametrize(
    ("stem", "watts"),
    [("dgx-h100", 1352), ("dgx-b200", 1352), ("dgx-b300", 1331), ("mi300x-8", 992), ("mi355x-8", 992)],
)
def test_host_watts_of_boxes(stem, watts):
    assert System.load(stem).power.host_w == watts


def test_host_watts_of_racks():
    grace, switches = 36 * 140, 9 * 477.5
    assert System.load("gb200-nvl72").power.host_w == grace + 18 * 172 + switches
    assert System.load("gb300-nvl72").power.host_w == grace + 18 * 300 + switches
    rubin = System.load("vr-nvl72").power.host_w
    assert rubin == System.load("vr-nvl72-max-p").power.host_w
    assert rubin == pytest.approx(System.load("gb300-nvl72").power.host_w * 230 / 142, abs=2)


@pytest.mark.parametrize(
    ("stem", "network_w", "published_w"), [("gb200-nvl72", 4263, 107e3), ("gb300-nvl72", 6278, 124e3)]
)
def test_racks_at_tdp_agree_with_the_published_model(stem, network_w, published_w):
    assert wall_watts_at_tdp(System.load(stem)) + network_w == pytest.approx(published_w, rel=0.025)


@pytest.mark.parametrize("stem", DISCLOSED)
def test_a_system_is_rated_above_what_it_draws_at_tdp(stem):
    system = System.load(stem)
    assert wall_watts_at_tdp(system) <= system.power.max_w <= system.power.psu.rated_w


@pytest.mark.parametrize("stem", SYSTEMS)
def test_networks_of_systems(stem):
    system = System.load(stem)
    assert (system.scale_up.domain, system.kind) == NETWORKS.get(stem, (72, "rack") if "nvl72" in stem else (8, "box"))
    assert system.scale_up.domain in (system.accelerators, 1)
    if system.scale_out is not None:
        assert system.max_systems in (1, 4, 8, 16, 40)
        assert system.scale_out.bytes_per_s < (system.scale_up_bytes_per_s or 128e9)
    mesh = stem.startswith("mi3")
    torus = stem.startswith("ironwood")
    assert system.scale_up.topology == ("full_mesh" if mesh else "torus" if torus else "switched")
    assert system.scale_up.in_switch_reduction is (stem in IN_SWITCH)
    assert system.facility.cooling == system.cooling


@pytest.mark.parametrize("stem", SWITCHED)
def test_vintages_stand_side_by_side(stem):
    watts = System.load(stem).power.provisioned_w_per_accelerator
    assert "semianalysis-2026" in watts
    assert ("semianalysis-v1" in watts) is not stem.startswith("vr-")


def test_vintages_as_published():
    assert System.load("dgx-h100").power.provisioned_w_per_accelerator == {
        "semianalysis-v1": 1730,
        "semianalysis-2026": 1370,
    }
    assert System.load("gb300-nvl72").power.provisioned_w_per_accelerator["semianalysis-2026"] == 2120


def test_facilities():
    assert (Facility.load("air").pue, Facility.load("liquid").pue) == (1.3, 1.1)


@pytest.mark.parametrize(
    "name",
    [
        *("h100-sxm", "h200-sxm", "b200-hgx", "gb200", "gb300", "b300-hgx", "l40s", "a100-80-sxm"),
        "rtx-pro-6000-bw-server",
    ],
)
def test_a_measured_part_uses_the_sheet_measured_on_it(name):
    assert name in Accelerator.load(name).efficiency.accelerators


@pytest.mark.parametrize("stem", list_specs("efficiency"))
def test_efficiency_is_physical(stem):
    sheet = Efficiency.load(stem)
    for entries in (sheet.operations.gemm, sheet.operations.experts):
        for entry in entries.values():
            assert 0.1 < entry.eta_compute <= 1
            assert 0.3 < entry.eta_memory <= 1
            assert (2e-7 if stem == "default-lpu" else 2e-6) <= entry.fixed_s <= 50e-6
    for fmt, entry in sheet.operations.experts.items():
        assert entry.eta_compute <= sheet.operations.gemm[fmt].eta_compute + 1e-9
    assert sheet.collectives.one_shot_s <= sheet.collectives.two_shot_s


@pytest.mark.parametrize(("box", "rack"), [("b200", "gb200"), ("b300", "gb300")])
@pytest.mark.parametrize("kind", ["gemm", "experts", "decode_attention", "context_attention"])
def test_the_same_chip_is_as_good_in_a_box_as_in_a_rack(box, rack, kind):
    one, other = (getattr(Efficiency.load(stem).operations, kind) for stem in (box, rack))
    assert one.keys() == other.keys()
    for fmt in one:
        for number in ("eta_compute", "eta_memory", "fixed_s"):
            a, b = getattr(one[fmt], number), getattr(other[fmt], number)
            assert max(a, b) <= 1.3 * min(a, b), (fmt, number, a, b)


@pytest.mark.parametrize(("box", "rack"), [("b200", "gb200"), ("b300", "gb300")])
def test_a_rack_exchanges_like_the_box_of_its_chip(box, rack):
    """No group of 8 was measured in a rack; all-reduce was, on up to 16 GPUs of one."""
    one, other = (Efficiency.load(stem).collectives for stem in (box, rack))
    assert (one.eta_exchange, one.eta_gather, one.exchange_s) == (
        other.eta_exchange,
        other.eta_gather,
        other.exchange_s,
    )
    assert Efficiency.load(rack).sources["collectives.eta_exchange"].grade == "estimated"
    assert other.two_shot_s == Efficiency.load("gb300").collectives.two_shot_s


@pytest.mark.parametrize("stem", list_specs("efficiency"))
def test_a_prompt_reads_as_fast_as_decode_does(stem):
    operations = Efficiency.load(stem).operations
    for fmt, entry in operations.context_attention.items():
        assert entry.eta_memory == operations.decode_attention[fmt].eta_memory
        assert entry.eta_compute < 0.7


def test_h100_gemms_reproduce_measured_calls():
    """Shortest call and share of bandwidth at one row, shares of peak at 8192 rows, as tabled for the library named."""
    part, gemm = Accelerator.load("h100-sxm"), Efficiency.load("h100").operations.gemm
    assert gemm["bf16"].fixed_s == pytest.approx(3.87e-6, rel=0.1)
    read_s = 2 * 8192 * 8192 / part.memory.bytes_per_s
    assert read_s / (gemm["bf16"].fixed_s + read_s / gemm["bf16"].eta_memory) == pytest.approx(0.7992, rel=0.05)
    assert gemm["bf16"].eta_compute == pytest.approx(0.7647, rel=0.1)
    assert gemm["fp8"].eta_compute == pytest.approx(0.5511, rel=0.15)


MEMORY = {  # B/s, bytes, TDP in W where one is published
    "a100-40-sxm": (1555e9, 40 * 2**30, 400),
    "h100-pcie": (2000e9, 80 * 2**30, 350),
    "h100-nvl": (3900e9, 94 * 2**30, 400),
    "h800-sxm": (3350e9, 80 * 2**30, 700),
    "h20": (4000e9, 96 * 2**30, 400),
    "gh200-96": (4000e9, 96 * 2**30, 1000),
    "gh200-144": (4900e9, 144e9, 1000),
    "l4": (300e9, 24e9, 72),
    "b100": (7700e9, 192e9, 700),
    "rubin-cpx": (2000e9, 128e9, 840),
    "rtx-pro-6000-bw-server": (1597e9, 102641958912, 600),
    "mi325x": (6000e9, 274.9e9, 1000),
    "mi350x": (8000e9, 288 * 2**30, 1000),
    "mi455x": (19600e9, 432e9, None),
    "gaudi2": (2450e9, 96 * 2**30, 600),
    "gaudi3": (3670e9, 128 * 2**30, 900),
    "tpu-v5e": (819e9, 16 * 2**30, None),
    "tpu-v5p": (2765e9, 95 * 2**30, None),
    "tpu-v6e": (1638e9, 32 * 2**30, None),
    "tpu7x-ironwood": (7380e9, 192 * 2**30, 980),
    "trn2": (2900e9, 96 * 2**30, 500),
    "trn3": (4900e9, 144 * 2**30, 1000),
    "groq-lpu-v1": (80e12, 230e6, None),
    "groq3-lp30": (150e12, 500e6, None),
    "h200-nvl": (4800e9, 150.1e9, 600),
    "rtx-pro-4500-bw-server": (800e9, 32 * 2**30, 165),
    "arc-pro-b50": (224e9, 16 * 2**30, 70),
    "arc-pro-b60": (456e9, 24 * 2**30, 200),
    "arc-pro-b70": (608e9, 32 * 2**30, 230),
}


@pytest.mark.parametrize("stem", MEMORY)
def test_memory_and_tdp(stem):
    part = Accelerator.load(stem)
    assert (part.memory.bytes_per_s, part.memory.bytes, part.power.tdp_w) == MEMORY[stem]


def test_every_part_is_here_once():
    """The 40 parts of the fact tables; Max-P and Rubin Ultra are two more."""
    old = {"a100-80-sxm", "h100-sxm", "h200-sxm", "l40s", "b200-hgx", "gb200", "b300-hgx", "gb300", "rubin-vr200"}
    old |= {"mi300x", "mi355x"}
    assert set(list_specs("accelerator")) == {*old, *MEMORY, "rubin-vr200-max-p", "rubin-ultra"}


def test_rates_filled_in_by_rule_are_estimated():
    ratio = Accelerator.load("rubin-vr200").dense_flop_per_s
    for stem, math, rate in (
        ("rubin-cpx", "fp8", 20e15 * ratio["fp8"] / ratio["fp4"]),
        ("rubin-cpx", "bf16", 20e15 * ratio["bf16"] / ratio["fp4"]),
        ("rubin-ultra", "fp4", 2 * ratio["fp4"]),
        ("mi455x", "bf16", 20e15 / 2),
        ("groq3-lp30", "bf16", 1230e12 * 188 / 750),
        ("groq-lpu-v1", "bf16", 188e12),
    ):
        part = Accelerator.load(stem)
        assert part.dense_flop_per_s[math] == pytest.approx(rate, rel=1e-3)
        assert part.source_of(f"dense_flop_per_s.{math}").grade == "estimated"


@pytest.mark.parametrize(
    ("stem", "kilowatts", "accelerators"),
    [
        ("dgx-a100", 6.5, 8),
        ("mi325x-8", 12.5, 8),
        ("rtx-pro-6000-8", 6.5, 8),
        ("hgx-rubin-nvl8", 24, 8),
        ("rubin-ultra-kyber", 600, 144),
        ("ironwood-rack", 100, 64),
    ],
)
def test_ratings_of_systems(stem, kilowatts, accelerators):
    system = System.load(stem)
    assert (system.power.max_w, system.accelerators) == (1e3 * kilowatts, accelerators)


def test_the_two_halves_of_the_cpx_rack_make_the_whole():
    cpx, rubin = System.load("vr-nvl144-cpx"), System.load("vr-nvl72-max-p")
    assert (cpx.accelerators, rubin.accelerators) == (144, 72)
    assert cpx.power.max_w + rubin.power.max_w == 370e3


def test_a_pod_is_its_racks():
    pod, rack = System.load("ironwood-pod"), System.load("ironwood-rack")
    assert pod.accelerators == 144 * rack.accelerators == 9216
    assert pod.power.host_w == 144 * rack.power.host_w
    assert pod.power.max_w == pytest.approx(10e6, rel=0.01)
    assert wall_watts_at_tdp(pod) / 9216 == pytest.approx(1085, rel=0.01)


def test_all_in_watts_of_the_other_makers():
    for stem, first, second in (("mi325x-8", 2180, 1690), ("rtx-pro-6000-8", 975, 680), ("ironwood-rack", 1207, 1210)):
        watts = System.load(stem).power.provisioned_w_per_accelerator
        assert watts == {"semianalysis-v1": first, "semianalysis-2026": second}


def test_what_was_measured_of_sequences():
    """Reading a state in fp32 at most of bandwidth, as tabled: 184.8 us for 128 sequences of 32 heads on an H100."""
    part, operations = Accelerator.load("h100-sxm"), Efficiency.load("h100").operations
    state = 2 * 128 * 32 * 128 * 128 * 4
    took = operations.linear_attention.fixed_s + state / (
        operations.linear_attention.eta_memory * part.memory.bytes_per_s
    )
    assert took == pytest.approx(184.8e-6 + 6.4e-6, rel=0.1)
    scores = 2 * 32 * 128 * 4096 * 4097 / 2 / part.dense_flop_per_s["fp8"]
    assert scores / operations.index.eta_compute + operations.index.fixed_s == pytest.approx(79.7e-6, rel=0.1)
    for stem in ("h100", "h200", "b200", "b300", "gb200", "gb300"):
        for name in ("linear_attention", "index", "top_k"):
            assert Efficiency.load(stem).source_of(f"operations.{name}").grade == "measured"
    for name in ("linear_attention", "index", "top_k"):
        assert Efficiency.load("default-cdna4").source_of(f"operations.{name}.eta_memory").grade == "estimated"


def test_every_efficiency_by_default_tells_how_wrong_it_may_be():
    for stem in ("default-ada", "default-asic", "default-lpu"):
        assert "xpect kernels" in Efficiency.load(stem).notes
