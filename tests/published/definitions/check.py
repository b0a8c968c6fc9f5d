#!/usr/bin/env python3
"""Tests the definitions themselves: what the publications state of them, and values computed by hand.

    check.py [-v] [-k PATTERN]
"""

import pathlib
import types
import unittest

import fa4
import fastvideo
import flashinfer
import flex
import gym
import natten
import papers

from check_gym import Gym
from check_kernels import Fa4, FlashInfer, Flex
from check_video import Natten, Papers, Video


class Coverage(unittest.TestCase):
    def test_every_definition_is_checked(self):
        folder = pathlib.Path(__file__).parent
        tests = "".join(file.read_text(encoding="utf-8") for file in folder.glob("check_*.py"))
        for module in (gym, flex, fa4, natten, flashinfer, fastvideo, papers):
            for name, value in vars(module).items():
                if isinstance(value, types.FunctionType) and value.__module__ == module.__name__ \
                        and not name.startswith("_"):
                    self.assertRegex(tests, rf"\b{module.__name__}\.{name}\b")


if __name__ == "__main__":
    unittest.main()
