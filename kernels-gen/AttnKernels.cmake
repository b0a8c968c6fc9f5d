# attn_add_kernels(NAME
#   SPECS   a.attn b.attn ...     spec files
#   TARGETS cpu ptx spirv         default: cpu
#   DTYPES  f32 bf16 int8         default: what each spec says
#   OUTPUT  file.attnb            default: NAME.attnb in the current binary folder
#   LINKED)                       cpu kernels as a library instead of a bundle
#
# Adds a target NAME that compiles the specs into one bundle at build time. Its
# path is in the property ATTN_BUNDLE of the target. With LINKED, NAME is a static
# library for target_link_libraries; it has the constant attn_kernels_NAME, which
# attn_bundle_open_linked() takes.
function(attn_add_kernels name)
  cmake_parse_arguments(ARG "LINKED" "OUTPUT" "SPECS;TARGETS;DTYPES" ${ARGN})
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
  set(compiler attnc)
  if(TARGET attn::attnc) # the installed one
    set(compiler attn::attnc)
  endif()
  if(ARG_LINKED)
    set(object ${CMAKE_CURRENT_BINARY_DIR}/${name}.o)
    add_custom_command(OUTPUT ${object}
      COMMAND ${compiler} compile ${specs} --target ${targets} ${dtypes} --emit obj --name ${name} -o ${object}
      DEPENDS ${compiler} ${specs}
      COMMENT "Compiling attention kernels ${name}"
      VERBATIM)
    set_source_files_properties(${object} PROPERTIES EXTERNAL_OBJECT TRUE GENERATED TRUE)
    add_library(${name} STATIC ${object})
    set_target_properties(${name} PROPERTIES LINKER_LANGUAGE C)
    return()
  endif()
  add_custom_command(OUTPUT ${ARG_OUTPUT}
    COMMAND ${compiler} compile ${specs} --target ${targets} ${dtypes} -o ${ARG_OUTPUT}
    DEPENDS ${compiler} ${specs}
    COMMENT "Compiling attention kernels ${name}"
    VERBATIM)
  add_custom_target(${name} ALL DEPENDS ${ARG_OUTPUT})
  set_target_properties(${name} PROPERTIES ATTN_BUNDLE ${ARG_OUTPUT})
endfunction()
