"""`make sabotage`: every broken environment and every good one, in real containers, and the score.

python -m tests.sabotage [WORD]... runs only the cases whose names contain one of the words. Ends with 1 when a broken
environment was not caught, a cause was wrong, or a good environment was not found healthy without a cause.
"""

from __future__ import annotations

import os
import sys
import time

import docker

from torchpair import diagnose, dockerd, doctor

from .cases import BROKEN, GOOD
from .made import examine


def main(words: list[str]) -> int:
    engine = dockerd.ensure(print)
    os.environ["DOCKER_HOST"] = engine.host
    client = docker.DockerClient(base_url=engine.host, timeout=120)
    cases = [case for case in BROKEN + GOOD if not words or any(word in case.name for word in words)]
    caught = right = broken = alarms = good = 0
    began = time.monotonic()
    with doctor.packed() as (probe, digest):
        for number, case in enumerate(cases):
            started = time.monotonic()
            report = examine(engine, client, case, f"case{number}", probe, digest)
            causes = diagnose.causes(report, case.host)
            first = causes[0].id if causes else None
            if case.cause:
                broken += 1
                # A GPU that the container lacks leaves the verdict alone: there the cause is what is caught.
                found = report.verdict == "unhealthy" or bool(case.host and causes)
                caught += found
                right += first == case.cause
                good_case = found and first == case.cause
            else:
                good += 1
                good_case = report.verdict == "healthy" and not causes
                alarms += not good_case
            failing = [check.id for check in report.checks if check.status == "fail"]
            wrong = (
                "" if good_case else f"  EXPECTED {case.cause or 'no cause'}; failed: {', '.join(failing) or 'none'}"
            )
            pretended = f"  (simulated: {case.simulated})" if case.simulated else ""
            seconds = time.monotonic() - started
            print(
                f"{'ok ' if good_case else 'BAD'} {seconds:5.1f} s  {report.verdict:<12} {first or '-':<17} "
                f"{case.name}{pretended}{wrong}",
                flush=True,
            )
    client.close()
    print(
        f"caught {caught} of {broken}, right cause {right} of {broken}, false alarms {alarms} of {good}, "
        f"in {time.monotonic() - began:.0f} s"
    )
    return 0 if caught == right == broken and not alarms and cases else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
