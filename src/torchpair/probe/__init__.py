"""The probe: runs inside an image and prints one JSON document about its torch and torchaudio.

It needs the standard library, torch and torchaudio, and nothing of torchpair outside this package: `pack.py`
(which stays on the host) puts the other modules into one file, `probe.pyz`, for any Python from 3.8 on.

Exit codes: 0 nothing failed, 1 a check failed, 2 bad command line, 3 inconclusive.

A check that is skipped says in `needs` what it lacked:
    gpu               no GPU, or switched off; inconclusive only under `--gpu require`
    cuda-build        a GPU check in an image whose torch is built for the CPU; likewise
    expectation       nothing to compare with was given; harmless
    torchaudio>=X.Y   the release has no such operator; harmless
    import            torch or torchaudio does not import: `pair.import` says why; inconclusive
    known-format      torchaudio's library is in a form that the probe cannot read; inconclusive
    writable-temp     no folder to write a file into (TMPDIR, /tmp); inconclusive
"""

__version__ = "1"
SCHEMA = "torchpair.probe/1"
