"""Spec[] -> docker-bake.json: one graph for the whole matrix, for anyone with plain buildx; each of its targets as
torchpair itself builds it; and the same rows as jobs of GitHub Actions.

https://docs.docker.com/build/bake/reference/
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from torchpair import render, shard
from torchpair.shard import Job
from torchpair.spec import Spec

BAKE_FILE = "docker-bake.json"
DOCKERFILES = "dockerfiles"
# The build context: the probe, and nothing else of the checkout, so that no edit elsewhere starts a build.
CONTEXT = "build/context"
# https://docs.github.com/en/actions/reference/limits: a matrix makes at most 256 jobs.
MOST_JOBS = 256


def target(spec: Spec) -> str:
    """The bake target of a row on its base.

    No two rows share one: a row's name has no underscore and does not end in ".local".
    """
    return spec.name.replace(".", "_") + ("_local" if spec.base == "local" else "")


def bake(specs: Sequence[Spec]) -> str:
    """The text of docker-bake.json. Paths are relative to the folder of matrix.yaml."""
    groups = {
        "default": [target(s) for s in specs if s.row.default and s.base != "local"],
        "local": [target(s) for s in specs if s.row.default and s.base == "local"],
    }
    document = {
        # buildx refuses a file with an empty table of groups.
        **({"group": named} if (named := {n: {"targets": t} for n, t in groups.items() if t}) else {}),
        "target": {
            target(spec): {
                "context": CONTEXT,
                "dockerfile": f"../../{DOCKERFILES}/{render.file_name(spec)}",
                "tags": [spec.reference],
                "platforms": [platform(spec)],
            }
            for spec in specs
        },
    }
    return json.dumps(document, indent=2) + "\n"


def platform(spec: Spec) -> str:
    return {"x86_64": "linux/amd64", "aarch64": "linux/arm64"}[spec.arch]


def build(spec: Spec) -> tuple[list[str], str]:
    """The same target for `docker buildx build`, which knows what bake does not: a build's network (buildx 0.13).

    Arguments, and the context that ends them.
    """
    return ["--file", f"{DOCKERFILES}/{render.file_name(spec)}", "--platform", platform(spec)], CONTEXT


def github(jobs: Sequence[Job], most: int = MOST_JOBS) -> str:
    """A job matrix in JSON, as `strategy: matrix:` takes it: a job per row; shards, where rows are more than `most`."""
    if len(jobs) <= most:
        found = [{"name": one.name, "rows": one.name} for one in shard.in_order(jobs)]
    else:
        runs = [run for run in shard.divide(jobs, most) if run]
        found = [
            {"name": f"{index} of {len(runs)}", "rows": " ".join(one.name for one in run)}
            for index, run in enumerate(runs, 1)
        ]
    return json.dumps({"include": found})
