"""`make faults`, or python -m tests.faults [NAME]...: ends with 1 when a fault did harm."""

from __future__ import annotations

import os
import sys

from torchpair import dockerd

from . import airgap, hostile, images, index, kills, machine, planted

FAULTS = {
    "hostile": hostile.run, "images": images.run, "secrets": planted.run, "airgap": airgap.run, "machine": machine.run,
    "index": index.run, "kills": kills.run,
}  # fmt: skip


def main(names: list[str]) -> int:
    engine = dockerd.ensure(print)
    os.environ["DOCKER_HOST"] = engine.host
    wrong = [name for name in names if name not in FAULTS]
    if wrong:
        print(f"no fault {', '.join(wrong)}; there are {', '.join(FAULTS)}", file=sys.stderr)
        return 2
    well = [FAULTS[name](engine) for name in names or FAULTS]  # each of them, whatever the one before came to
    return 0 if all(well) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
