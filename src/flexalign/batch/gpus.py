"""GPUs that share the movies of a run, and what becomes of the movies of one that fails."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from flexalign.batch.failures import Failure
from flexalign.errors import DeviceError
from flexalign.files import displayed


class Gpus:
    """The GPUs of a run; one that fails takes no more movies.

    Its movies are given to the others, each once. A movie that two GPUs fail with is the cause
    itself: it fails, and the first GPU is used again. The last GPU is given up when it fails with
    one movie after another.

    Parameters
    ----------
    names : such as "cuda:0"
    falls_back : whether the CPU takes the movies when no GPU is left

    Attributes
    ----------
    good : those that take movies
    """

    def __init__(self, names: Sequence[str], *, falls_back: bool = False) -> None:
        self.good = list(names)
        self.falls_back = falls_back
        self._reasons: dict[str, str] = {}
        self._given_on: dict[str, str] = {}
        self._failed_last: dict[str, str] = {}

    @property
    def reason(self) -> str:
        """Why GPUs are not used any more, in one line."""
        return "; ".join(f"{gpu}: {reason}" for gpu, reason in self._reasons.items())

    def none_left(self) -> Failure:
        """Why movies fail when there is no GPU."""
        message = f"expected a GPU that works, found none left ({self.reason})"
        return Failure("device", message, DeviceError.exit_code)

    def succeeded(self, gpu: str) -> None:
        """Note that a movie was aligned on `gpu`."""
        self._failed_last.pop(gpu, None)

    def failed(
        self, gpu: str, movies: Sequence[str], reason: str, *, is_of_device: bool
    ) -> tuple[bool, str]:
        """Note that `gpu` failed with some movies.

        Parameters
        ----------
        is_of_device : whether the GPU reported it; else its process ended or gave no sign of life

        Returns
        -------
        Whether the movies are to be given to another device, and what to tell the user
        """
        causes = [movie for movie in movies if movie in self._given_on]
        if causes:
            return False, "\n".join(self._use_again(movie, gpu) for movie in causes)
        if len(self.good) > 1 or (is_of_device and self.falls_back):
            self._given_on |= dict.fromkeys(movies, gpu)
            self._retire(gpu, reason)
            where = "other GPUs" if self.good else "the CPU"
            return True, f"{gpu} failed and takes no more movies, its own go to {where}: {reason}"
        earlier = self._failed_last.setdefault(gpu, movies[0])
        if is_of_device and earlier not in movies:
            self._retire(gpu, reason)
            return False, f"{gpu} failed twice and takes no more movies: {reason}"
        return False, ""

    def _retire(self, gpu: str, reason: str) -> None:
        self.good.remove(gpu)
        self._reasons[gpu] = reason

    def _use_again(self, movie: str, gpu: str) -> str:
        """Use the GPU again that failed with `movie` before; what to tell the user."""
        first = self._given_on[movie]
        if first in self._reasons:
            del self._reasons[first]
            self.good.append(first)
        name = Path(displayed(movie)).name
        return f"{name}: failed on {first} and on {gpu}, which are both used for other movies"
