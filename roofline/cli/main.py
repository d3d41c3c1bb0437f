"""The `roofline` command. Exit status: 0 done, 1 a check failed, 2 bad input, or no room for the result."""

from __future__ import annotations

import gc
import os
import sys
from typing import Annotated, NoReturn

import typer

from roofline import __version__
from roofline.cli import (
    calibrate,
    check_claim,
    compare,
    evaluate,
    explain,
    feasibility,
    heatmap,
    metrics,
    overview,
    pairs,
    pareto,
    plan,
    power_cap,
    sensitivity,
    serve,
    site,
    specs,
    uncertainty,
    validate,
    warmup,
)
from roofline.errors import InputError

app = typer.Typer(
    name="roofline",
    help="LLM inference on accelerators from first principles: time, energy and tokens per MWh of a token.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(specs.app, name="specs")
app.command("decode")(evaluate.decode)
app.command("prefill")(evaluate.prefill)
app.command("serve")(serve.serve)
app.command("plan")(plan.plan)
app.command("pairs")(pairs.pairs)
app.command("pareto")(pareto.pareto)
app.command("metrics")(metrics.metrics)
app.command("site")(site.site)
app.command("power-cap")(power_cap.power_cap)
app.command("compare")(compare.compare)
app.command("check-claim")(check_claim.check_claim)
app.command("sensitivity")(sensitivity.sensitivity)
app.command("uncertainty")(uncertainty.uncertainty)
app.command("explain")(explain.explain)
app.command("validate")(validate.validate)
app.command("calibrate")(calibrate.calibrate)
app.command("feasibility")(feasibility.feasibility)
app.command("heatmap")(heatmap.heatmap)
specs.app.command("table")(overview.table)
app.command("warmup")(warmup.warmup)


def _version(asked: bool) -> None:
    if asked:
        print(f"roofline {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line; what the user can mend is one message on stderr and status 2, never a traceback."""
    # Importing makes many objects and no garbage: looking for it costs a tenth of a short command.
    gc.set_threshold(200_000, 50, 50)
    try:
        try:
            app()
        finally:
            sys.stdout.flush()  # a full disk shows here, while there is someone to tell
    except InputError as error:
        _fail(str(error))
    except MemoryError:
        _fail("the grid needs more memory than there is: fewer batches, lengths or deployments, or one model at a time")
    except BrokenPipeError:
        # The reader (`| head`) has enough.
        _drop_output()
        sys.exit(0)
    except OSError as error:
        _drop_output()
        place = "cannot write to stdout" if error.filename is None else str(error.filename)
        _fail(f"{place}: {error.strerror or error}")


def _fail(message: str) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)


def _drop_output() -> None:
    """Send what is still to be written nowhere: Python would complain once more while closing stdout."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
