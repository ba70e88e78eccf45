"""Which GPUs take the movies of one that failed."""

from __future__ import annotations

from flexalign.batch.gpus import Gpus


def test_a_gpu_that_fails_takes_no_more_movies_and_another_takes_its_own():
    gpus = Gpus(["cuda:0", "cuda:1"])

    again, note = gpus.failed("cuda:0", ["m"], "it is lost", is_of_device=True)

    assert again
    assert gpus.good == ["cuda:1"]
    assert note == "cuda:0 failed and takes no more movies, its own go to other GPUs: it is lost"


def test_a_movie_that_fails_on_two_gpus_is_the_cause_and_both_are_used_on():
    gpus = Gpus(["cuda:0", "cuda:1"])
    gpus.failed("cuda:0", ["bad", "good"], "ended", is_of_device=False)

    again, note = gpus.failed("cuda:1", ["bad"], "ended", is_of_device=False)

    assert not again
    assert sorted(gpus.good) == ["cuda:0", "cuda:1"]
    assert note == "bad: failed on cuda:0 and on cuda:1, which are both used for other movies"


def test_the_last_gpu_is_given_up_when_it_fails_with_two_movies_in_succession():
    gpus = Gpus(["cuda:0"])

    assert gpus.failed("cuda:0", ["a"], "x", is_of_device=True) == (False, "")
    gpus.succeeded("cuda:0")
    assert gpus.failed("cuda:0", ["b"], "x", is_of_device=True) == (False, "")
    assert gpus.failed("cuda:0", ["b"], "x", is_of_device=True) == (False, "")
    assert gpus.good == ["cuda:0"]

    assert not gpus.failed("cuda:0", ["c"], "lost", is_of_device=True)[0]
    assert gpus.good == []
    assert "none left (cuda:0: lost)" in gpus.none_left().message
    assert gpus.none_left().exit_code == 4


def test_a_process_that_ends_is_no_reason_to_give_up_the_last_gpu():
    gpus = Gpus(["cuda:0"], falls_back=True)

    assert [gpus.failed("cuda:0", [m], "x", is_of_device=False)[0] for m in "abc"] == [False] * 3
    assert gpus.good == ["cuda:0"]


def test_after_auto_the_cpu_takes_the_movies_of_the_last_gpu():
    gpus = Gpus(["cuda:0"], falls_back=True)

    again, note = gpus.failed("cuda:0", ["m"], "lost", is_of_device=True)

    assert again
    assert gpus.good == []
    assert "its own go to the CPU: lost" in note
