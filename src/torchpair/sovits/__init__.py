"""GPT-SoVITS inside its image: start-up, health, the stub voice and the questions of the smoke test.

Packed into sovits.pyz (torchpair.probe.pack), so it uses the standard library only. The host imports `weights` and
`layout` too: both sides know one list of files and one list of places.
"""
