"""The engine as a job of Scipion: what starts it, where it computes, and what it says."""

import glob

from .. import Plugin, engine

# What NVIDIA's driver puts there for each GPU, and the one for all under Windows.
GPU_FILES = ("/dev/nvidia[0-9]*", "/dev/dxg")
# The end of the name of the file that says why a movie or a series failed.
FAILED_REASON = "_failed.txt"


class EngineJobs:
    """Jobs of the engine in the protocols that align movies."""

    def _runEngine(self, words, log):
        """Run the engine with the words of a command line; `log` is a file for what it says.

        Raises `EngineError` with the engine's last words, and `DeviceError` where the GPU that was
        asked for cannot be used.
        """
        # The engine's own words are wanted twice: in the log, and as the reason of a failure.
        try:
            self.runJob(
                Plugin.getProgram(),
                "%s 2> %s" % (engine.quoted(words), engine.quoted([log])),
                env=self._getEnviron(),
            )
        except Exception as error:
            exit_code = getattr(error, "returncode", None)
            is_device = exit_code == engine.DEVICE_EXIT_CODE
            kind = engine.DeviceError if is_device else engine.EngineError
            raise kind(engine.last_error(read_text(log)), exit_code) from error
        finally:
            for line in read_text(log).splitlines():
                self.info(line)

    def _getEnviron(self):
        environ = Plugin.getEnviron()
        gpus = self._getOwnGpus()
        if gpus:
            environ["CUDA_VISIBLE_DEVICES"] = ",".join(str(gpu) for gpu in gpus)
        return environ

    def _getOwnGpus(self):
        """Numbers of the GPUs of this step."""
        return self._stepsExecutor.getGpuList() if self.usesGpu() else []

    def _getDevice(self):
        """Where the engine computes. Which GPU it sees is a matter of its environment."""
        return "cuda" if self.usesGpu() else "cpu"

    def _checkGpu(self):
        """That there is a GPU where one is asked for, as messages.

        In a queue that is another machine's matter; there the engine says it.
        """
        if not self.usesGpu() or self.useQueue() or any(glob.glob(name) for name in GPU_FILES):
            return []
        return [
            "A GPU is asked for, but this machine has none (no NVIDIA driver). "
            "Choose *Use GPU: No*; everything works on the CPU too."
        ]


def read_text(path):
    """The text in a file, "" when there is none."""
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""
