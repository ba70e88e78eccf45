"""Scipion plugin for flexalign: a form, a command line, and its results as Scipion's objects.

The engine is a program of its own; nothing of it is imported here.
"""

import os
import shutil
import subprocess

import pwem
from pyworkflow import VarTypes
from pyworkflow.utils import Environ

from . import engine
from .constants import (
    FLEXALIGN_ACTIVATION_CMD,
    FLEXALIGN_HOME,
    FLEXALIGN_PACKAGE,
    PROGRAM,
    VERSION,
)

__version__ = VERSION
_logo = "logo.png"
_references = ["strelak2020flexalign", "Strelak2023performance"]

# Of Scipion's own interpreter; the engine has another one.
_NOT_FOR_THE_ENGINE = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
_ENVIRONMENT = "env"
# The first Python that is new enough; else conda brings one.
_MAKE_ENVIRONMENT = (
    "for python in python3 python3.13 python3.12 python3.11; do "
    "if $python -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' "
    "2>/dev/null; then $python -m venv {0} && exit; fi; done; "
    "conda create --yes --prefix {0} python=3.12 pip"
).format(_ENVIRONMENT)


class Plugin(pwem.Plugin):
    """Where the engine is and how it is started."""

    _homeVar = FLEXALIGN_HOME
    _pathVars = []
    _supportedVersions = [VERSION]
    # Shown in the help of a protocol and by `scipion config`.  The project has no public address,
    # and without one of its own a plugin has that of scipion-em: this is the article on the method.
    _url = "https://doi.org/10.3390/electronics9061040"

    @classmethod
    def _defineVariables(cls):
        cls._defineEmVar(
            FLEXALIGN_HOME,
            "%s-%s" % (PROGRAM, VERSION),
            description="Environment that holds flexalign as bin/flexalign.",
            var_type=VarTypes.FOLDER,
        )
        cls._defineVar(
            FLEXALIGN_ACTIVATION_CMD,
            "",
            description="Command after which `flexalign` is found, e.g. conda activate flexalign.",
            var_type=VarTypes.STRING,
        )
        cls._defineVar(
            FLEXALIGN_PACKAGE,
            "%s==%s" % (PROGRAM, VERSION),
            description="What `scipion installb flexalign` gives to pip: a name, a file, a folder.",
            var_type=VarTypes.STRING,
        )

    @classmethod
    def getEnviron(cls):
        """The environment of the engine: Scipion's, without what belongs to its interpreter."""
        environ = Environ(os.environ)
        for name in _NOT_FOR_THE_ENGINE:
            environ.pop(name, None)
        return environ

    @classmethod
    def getProgram(cls):
        """What starts the engine in a shell, "" where it is not found.

        An activation command comes first, then the environment at `FLEXALIGN_HOME`, then PATH.
        """
        activation = (cls.getVar(FLEXALIGN_ACTIVATION_CMD) or "").strip().rstrip("&; ")
        if activation.startswith("conda "):
            # what makes `conda activate` work in a shell that nobody logged into
            activation = ("%s %s" % (cls.getCondaActivationCmd() or "", activation)).strip()
        if activation:
            return "%s && %s" % (activation, PROGRAM)
        for folder in (("bin",), (_ENVIRONMENT, "bin")):
            path = cls.getHome(*folder, PROGRAM)
            if os.access(path, os.X_OK):
                return engine.quoted([path])
        path = shutil.which(PROGRAM)
        return engine.quoted([path]) if path else ""

    @classmethod
    def getCommand(cls, words):
        """The line that starts the engine in a shell with `words`, whatever is in them."""
        return "%s %s" % (cls.getProgram(), engine.quoted(words))

    @classmethod
    def getCommands(cls):
        """The commands that this version of the engine has."""
        if not cls.getProgram():
            return []
        listed = subprocess.run(
            cls.getCommand(["--help"]), shell=True, env=dict(cls.getEnviron(), COLUMNS="200"),
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, universal_newlines=True,
        )  # fmt: skip
        lines = [line.strip(" |\u2502").split() for line in listed.stdout.splitlines()]
        return [words[0] for words in lines if len(words) > 1]

    @classmethod
    def getActiveVersion(cls, home=None, versions=None):
        """The version that the engine says, "" where it is not found.

        Scipion takes it from the name of its folder, which may have any.
        """
        if not cls.getProgram():
            return ""
        printed = subprocess.run(
            cls.getCommand(["--version"]), shell=True, env=cls.getEnviron(),
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, universal_newlines=True,
        )  # fmt: skip
        words = printed.stdout.split()
        return words[-1] if words else ""

    @classmethod
    def validateInstallation(cls):
        """What keeps the engine from being started, as messages."""
        if cls.getProgram():
            return []
        return [
            "The program *%s* was not found." % PROGRAM,
            "Expected it as %s, on PATH, or after the command in %s."
            % (cls.getHome("bin", PROGRAM), FLEXALIGN_ACTIVATION_CMD),
            "Install it with: scipion installb %s" % PROGRAM,
        ]

    @classmethod
    def defineBinaries(cls, env):
        """`scipion installb flexalign`: an environment of its own, with a newer Python."""
        package = engine.quoted([cls.getVar(FLEXALIGN_PACKAGE)])
        env.addPackage(
            PROGRAM,
            version=VERSION,
            tar="void.tgz",
            commands=[
                (_MAKE_ENVIRONMENT, "%s/bin/python" % _ENVIRONMENT),
                (
                    "%s/bin/python -m pip install %s" % (_ENVIRONMENT, package),
                    "%s/bin/%s" % (_ENVIRONMENT, PROGRAM),
                ),
            ],
            default=True,
        )
