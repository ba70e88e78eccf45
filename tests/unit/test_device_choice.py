"""Which device `auto` is expected to take."""

from __future__ import annotations

import pytest

from flexalign.device_choice import why_cpu

SMALL, USUAL, LARGE = 16 * 1024**2, 40 * 4096**2, 40 * 11520 * 8184


@pytest.mark.parametrize(
    ("pixels", "cores", "many", "is_gpu"),
    [
        (SMALL, 2, False, False), (USUAL, 2, False, True), (USUAL, 64, False, True),
        (USUAL, 2, True, True), (USUAL, 3, True, False),
        (LARGE, 4, True, True), (LARGE, 5, True, False),
    ],
)  # fmt: skip
def test_the_page_on_gpus_says_what_auto_takes(pixels, cores, many, is_gpu):
    assert bool(why_cpu(pixels, cores, many=many)) is not is_gpu


def test_the_reason_has_both_times():
    assert why_cpu(1_000_000_000, 7, many=True) == (
        "7 cores are expected to take 2.0 s per movie, the GPU 4.9 s"
    )
