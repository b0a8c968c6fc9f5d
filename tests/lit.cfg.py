# lit's configuration for every .mlir and .attn test under tests/.
import os
import sys

import lit.formats
from lit.llvm import llvm_config
from lit.llvm.subst import ToolSubst

config.name = "attnc"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".test"]
config.excludes = ["inputs", "Inputs", "CMakeLists.txt"]
config.test_source_root = os.path.dirname(__file__)
config.test_exec_root = config.attn_test_build_dir

llvm_config.use_default_substitutions()
tools = [
    ToolSubst("attn-opt", unresolved="fatal"),
    ToolSubst("attnc", unresolved="ignore"),
    ToolSubst("llvm-nm", unresolved="ignore"),
    ToolSubst("mlir-opt", unresolved="ignore"),
    ToolSubst("split-file", unresolved="ignore"),
    ToolSubst("spirv-val", unresolved="ignore"),
]
llvm_config.add_tool_substitutions(tools, [config.attn_tools_dir, config.llvm_tools_dir])
config.substitutions.append(("%specs", os.path.join(config.attn_source_dir, "specs")))
config.substitutions.append(("%python", sys.executable))
