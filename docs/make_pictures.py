"""Make the pictures of the documentation: docs/img/*.png. They show what the command line draws, nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent / "img"

PICTURES = {
    "heatmap.png": ["heatmap"],
    "roofline.png": ["explain", "deepseek-r1", "gb300-nvl72", "--tp", "8", "--batch", "64", "--context", "8k"],
    "curves.png": [
        *("decode", "llama-3.3-70b", "hgx-h100,hgx-b200,gb300-nvl72", "--recipe", "fp8", "--tp", "1,2,4,8"),
        *("--batch", "1:512:x2", "--context", "2k,32k"),
    ],
    "site.png": [
        *("site", "--power", "1MW", "--isl", "1024", "--osl", "1024", "--ttft", "2", "--tpot", "50ms"),
        *("--load", "day"),
    ],
}

if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, arguments in PICTURES.items():
        command = [sys.executable, "-m", "roofline.cli", *arguments, "--out", str(FOLDER / name)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        print(FOLDER / name)
