"""Where NVIDIA's libraries are looked for, and which come along."""
import os
import stat
import unittest
from unittest import mock

from support import FolderTest

from gpu_check import libraries
from gpu_check.layout import CheckError

LT = "libcublasLt.so.13"


class LibrariesTest(FolderTest):
    def python(self, *folders):
        """A stand-in for an interpreter that imports from `folders`."""
        path = self.write("bin/python", "#!/bin/sh\n" + "".join(f"echo '{folder}'\n" for folder in folders))
        os.chmod(path, os.stat(path).st_mode | stat.S_IXUSR)
        return path

    def found(self, environ, pythons=()):
        folders = libraries.candidate_folders(environ, pythons, root=self.folder)
        return libraries.find([LT], folders)[LT]

    def test_the_users_toolkit_comes_before_the_systems_and_the_wheels(self):
        wheel = self.write(f"site/nvidia/cu13/lib/{LT}")
        pythons = [self.python(self.path("site"))]
        self.assertEqual(self.found({}, pythons), wheel)
        system = self.write(f"usr/local/cuda/lib64/{LT}")
        self.assertEqual(self.found({}, pythons), system)
        users = self.write(f"mine/lib64/{LT}")
        self.assertEqual(self.found({"CUDA_PATH": self.path("mine")}, pythons), users)

    def test_wheels_of_either_layout_are_found(self):
        for layout in ("nvidia/cu13/lib", "nvidia/cublas/lib"):
            with self.subTest(layout):
                path = self.write(f"{layout.replace('/', '-')}/{layout}/{LT}")
                self.assertEqual(self.found({}, [self.python(self.path(layout.replace("/", "-")))]), path)

    def test_another_major_version_is_none(self):
        self.write("usr/local/cuda/lib64/libcublasLt.so.12")
        self.write("usr/local/cuda/lib64/libcublasLt.so")
        self.assertIsNone(self.found({}))

    def test_interpreters_that_do_not_run_are_passed_over(self):
        self.assertIsNone(self.found({}, [self.path("no-such-python")]))

    def needs(self, libs):
        return mock.patch.object(libraries, "needed", lambda program, env=None: libs)

    def test_a_bundle_brings_what_is_neither_the_systems_nor_nvidias(self):
        with self.needs({LT: None, "libc.so.6": "/lib/libc.so.6", "libcudnn_ops.so.9": "/x", "libm.so.6": "/m",
                         "libfmt.so.9": "/lib/libfmt.so.9", "libstdc++.so.6": "/lib/libstdc++.so.6"}):
            self.assertEqual(libraries.to_pack(["p"]), {"libfmt.so.9": "/lib/libfmt.so.9",
                                                        "libstdc++.so.6": "/lib/libstdc++.so.6"})

    def test_a_library_that_cannot_be_brought_is_an_error(self):
        with self.needs({"libfmt.so.9": None}), self.assertRaisesRegex(CheckError, "libfmt"):
            libraries.to_pack(["p"])

    def test_needed_reads_what_a_real_program_loads(self):
        self.assertTrue(any(name.startswith("libc.so") for name in libraries.needed("/bin/sh")))

    def test_programs_get_the_folders_of_what_was_chosen(self):
        path = self.write(f"mine/lib64/{LT}")
        with self.needs({LT: None}), mock.patch.dict(os.environ, {"CUDA_PATH": self.path("mine")}):
            chosen = libraries.VendorLibraries(["p"])
        self.assertEqual(chosen.chosen, {LT: path})
        self.assertEqual(chosen.env()["LD_LIBRARY_PATH"].split(":")[0], self.path("mine/lib64"))
        self.assertEqual(chosen.missing, [])


if __name__ == "__main__":
    unittest.main()
