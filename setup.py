"""Builds the compiled core, which is optional: without it the package serves its lock-based path.

Two extensions bind the same C headers: ``_native`` by CPython's own API, on CPython only, and
``_cffi`` by cffi, wherever that can be had.

Everything else about the package stands in pyproject.toml. The environment is asked for

- ATOMIC_INTENUM_CFLAGS, ATOMIC_INTENUM_LDFLAGS: flags put after all others, for instance for a
  sanitizer build;
- ATOMIC_INTENUM_REQUIRE_EXT=1: a build without one of them is an error;
- ATOMIC_INTENUM_PURE=1: build neither, as on Windows: a wheel for every Python, of the lock-based
  path alone.
"""

import gzip
import importlib.machinery
import importlib.util
import os
import shlex
import sys
import sysconfig
import tarfile
import time
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.sdist import sdist
from setuptools.errors import BaseError, CCompilerError

NATIVE = "atomic_intenum._native"
CFFI = "atomic_intenum._cffi"
REQUIRED = os.environ.get("ATOMIC_INTENUM_REQUIRE_EXT", "") not in ("", "0")
CPYTHON = sys.implementation.name == "cpython"
PURE = os.environ.get("ATOMIC_INTENUM_PURE", "") not in ("", "0")
# Windows has no pthread mutex.
SUPPORTED = sys.platform != "win32" and not PURE
FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
# Free-threaded builds have no stable ABI to build for: they get a wheel for their own version.
ABI3 = SUPPORTED and CPYTHON and not FREE_THREADED
WITH_NATIVE = SUPPORTED and CPYTHON
# cffi refuses free-threaded builds before 3.14.
WITH_CFFI = SUPPORTED and (not FREE_THREADED or sys.version_info >= (3, 14))
# PyPy brings its own.  Elsewhere this file is run twice: asked what the build needs, and then with
# that installed.
HAS_CFFI = importlib.util.find_spec("cffi") is not None


class BuildOptional(build_ext):
    """build_ext that leaves an extension out, and says so, where it can't be built."""

    def finalize_options(self):
        """Rebuild each time: the flags of the environment matter, and no time stamp shows them."""
        super().finalize_options()
        self.force = True
        for ext in self.extensions:
            ext.optional = not REQUIRED
            ext.extra_compile_args += flags("ATOMIC_INTENUM_CFLAGS")
            ext.extra_link_args += flags("ATOMIC_INTENUM_LDFLAGS")

    def run(self):
        """Build, and leave no extension of an earlier build in src to be imported in its place."""
        if WITH_CFFI and not HAS_CFFI:
            say(
                f"{CFFI} is not built: there is no cffi to build it with.",
                "An isolated build brings it; for one without isolation: pip install cffi.",
            )
            if REQUIRED:
                sys.exit("ATOMIC_INTENUM_REQUIRE_EXT is set, so the build ends here.")
        if self.inplace:
            for name in (NATIVE, CFFI):
                path = Path("src", *name.split("."))
                for suffix in importlib.machinery.EXTENSION_SUFFIXES:
                    path.with_name(path.name + suffix).unlink(missing_ok=True)
        super().run()

    def build_extension(self, ext):
        """Build one extension, or explain what its absence means."""
        try:
            super().build_extension(ext)
        except (BaseError, CCompilerError, OSError) as error:
            if REQUIRED:
                say(
                    f"{ext.name} could not be built: {error}",
                    "ATOMIC_INTENUM_REQUIRE_EXT is set, as make does, so the build ends here;",
                    "set to 0, the package is installed without it, for its lock-based path.",
                )
                raise
            say(
                f"{ext.name} could not be built: {error}",
                "The package is installed without it: without any the lock-based path will serve,",
                "with the same API, slower. To get the compiled core, install a C11 compiler and",
                "Python's headers, and install again with --no-cache-dir.",
            )


class PlainSdist(sdist):
    """sdist that says neither who packed it, nor under which umask, nor when.

    So the same sources give the same bytes. setuptools heeds SOURCE_DATE_EPOCH in a wheel alone.
    """

    def make_archive(self, base_name, kind, **options):
        """Pack the release's folder: one owner, one time, one mode a kind of file."""
        if kind != "gztar":
            return super().make_archive(base_name, kind, **options)
        seconds = int(os.environ.get("SOURCE_DATE_EPOCH") or time.time())

        def plain(member):
            member.uid = member.gid = 0
            member.uname = member.gname = ""
            member.mtime = seconds
            member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            return member

        path = Path(f"{base_name}.tar.gz")
        path.parent.mkdir(parents=True, exist_ok=True)
        with (
            path.open("wb") as file,
            # gzip's header has a name and a time too.
            gzip.GzipFile("", "wb", fileobj=file, mtime=seconds) as packed,
            tarfile.open(fileobj=packed, mode="w") as archive,
        ):
            archive.add(options["base_dir"], filter=plain)
        return str(path)


def say(*lines):
    """Print lines that stand out in a compiler's output (pip shows it with -v, or on failure)."""
    bar = "*" * 88
    print("", bar, *(f"* {line}" for line in lines), bar, "", sep="\n", file=sys.stderr, flush=True)


def flags(variable):
    """Return the flags in an environment variable, split as a shell does."""
    return shlex.split(os.environ.get(variable, ""))


if REQUIRED and not SUPPORTED:
    if PURE:
        say("ATOMIC_INTENUM_PURE asks for no compiled core.")
    else:
        say(f"The compiled core is not built for {sys.implementation.name} on {sys.platform}.")
    sys.exit("ATOMIC_INTENUM_REQUIRE_EXT is set, so the build ends here.")

native = Extension(
    NATIVE,
    sources=["csrc/native.c"],
    # Without these a build by time stamps would keep the core of an older header.
    depends=[*sorted(str(header) for header in Path("csrc").rglob("*.h")), "setup.py"],
    # No include_dirs: a quoted #include finds csrc by itself, and with -Icsrc a header there would
    # hide one of the system's of the same name (wait.h).
    define_macros=[("Py_LIMITED_API", "0x030B0000")] if ABI3 else [],
    py_limited_api=ABI3,
    extra_compile_args=[
        "-std=c11",
        "-O3",
        "-pthread",
        # Only PyInit__native leaves the library.
        "-fvisibility=hidden",
    ],
    extra_link_args=["-pthread"],
)

setup(
    ext_modules=[native] if WITH_NATIVE else [],
    cffi_modules=["csrc/build_cffi.py:ffi"] if WITH_CFFI and HAS_CFFI else [],
    setup_requires=["cffi>=1.17"] if WITH_CFFI and CPYTHON else [],
    cmdclass={"build_ext": BuildOptional, "sdist": PlainSdist},
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if ABI3 else {},
)
