"""A bundle that is too large is no bundle."""
import os
import tarfile
import unittest

from support import FolderTest

from gpu_check import pack
from gpu_check.layout import CheckError


class PackTest(FolderTest):
    def test_both_kinds_of_bundle_unpack(self):
        self.write("content/scripts/a", "text")
        for name in ("b.tar.xz", "b.tar.gz"):
            with self.subTest(name):
                size = pack.write_bundle(self.path("content"), self.path(name))
                self.assertEqual(size, os.path.getsize(self.path(name)))
                with tarfile.open(self.path(name)) as archive:
                    self.assertEqual(archive.extractfile(f"{pack.FOLDER}/scripts/a").read(), b"text")

    def test_one_that_is_too_large_is_not_left(self):
        with open(self.path("noise"), "wb") as file:
            file.write(os.urandom(50_000))
        os.mkdir(self.path("content"))
        os.rename(self.path("noise"), self.path("content/noise"))
        with self.assertRaisesRegex(CheckError, "0.1 MB; at most 0"):
            pack.write_bundle(self.path("content"), self.path("b.tar.xz"), most_bytes=40_000)
        self.assertEqual(os.listdir(self.folder), ["content"])

    def test_architectures(self):
        self.assertEqual(pack.cmake_architectures("80,90"), "80-real;90-real;90-virtual")
        self.assertEqual(pack.cmake_architectures("90"), "90-real;90-virtual")
        with self.assertRaisesRegex(CheckError, "expected numbers"):
            pack.cmake_architectures("sm_90")

    def test_mnist_must_be_mnist(self):
        os.mkdir(self.path("data"))
        with self.assertRaisesRegex(CheckError, "train-images"):
            pack.add_mnist(self.folder, self.path("data"))


if __name__ == "__main__":
    unittest.main()
