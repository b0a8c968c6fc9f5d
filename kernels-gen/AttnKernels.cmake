# attn_add_kernels(NAME
#   SPECS   a.attn b.attn ...     spec files
#   TARGETS cpu ptx spirv         default: cpu
#   DTYPES  f32 bf16 int8         default: what each spec says
#   OUTPUT  file.attnb)           default: NAME.attnb in the current binary folder
#
# Adds a target NAME that compiles the specs into one bundle at build time. Its
# path is in the property ATTN_BUNDLE of the target.
function(attn_add_kernels name)
  cmake_parse_arguments(ARG "" "OUTPUT" "SPECS;TARGETS;DTYPES" ${ARGN})
  if(ARG_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "attn_add_kernels(${name}): unknown arguments ${ARG_UNPARSED_ARGUMENTS}")
  endif()
  if(NOT ARG_SPECS)
    message(FATAL_ERROR "attn_add_kernels(${name}): give SPECS, at least one .attn file")
  endif()
  if(NOT ARG_TARGETS)
    set(ARG_TARGETS cpu)
  endif()
  if(NOT ARG_OUTPUT)
    set(ARG_OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/${name}.attnb)
  endif()
  list(JOIN ARG_TARGETS "," targets)
  set(dtypes)
  if(ARG_DTYPES)
    list(JOIN ARG_DTYPES "," joined)
    set(dtypes --dtype ${joined})
  endif()
  set(specs)
  foreach(spec ${ARG_SPECS})
    get_filename_component(path ${spec} ABSOLUTE)
    list(APPEND specs ${path})
  endforeach()
  add_custom_command(OUTPUT ${ARG_OUTPUT}
    COMMAND attnc compile ${specs} --target ${targets} ${dtypes} -o ${ARG_OUTPUT}
    DEPENDS attnc ${specs}
    COMMENT "Compiling attention kernels ${name}"
    VERBATIM)
  add_custom_target(${name} ALL DEPENDS ${ARG_OUTPUT})
  set_target_properties(${name} PROPERTIES ATTN_BUNDLE ${ARG_OUTPUT})
endfunction()
