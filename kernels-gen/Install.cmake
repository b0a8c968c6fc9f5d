# cmake --install: the libraries, their headers, the tools, the specs, and what
# find_package(attn) and pkg-config need to find them.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(package ${CMAKE_INSTALL_LIBDIR}/cmake/attn)
install(TARGETS attn_shared attn_runtime EXPORT attnTargets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
  INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(TARGETS attn-run attn-stream RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
if(TARGET attnc)
  set_target_properties(attnc PROPERTIES INSTALL_RPATH_USE_LINK_PATH TRUE) # LLVM lies apart
  install(TARGETS attnc EXPORT attnTargets RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
install(DIRECTORY runtime/include/attn DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(DIRECTORY specs DESTINATION ${CMAKE_INSTALL_DATADIR}/attn FILES_MATCHING PATTERN "*.attn")
install(EXPORT attnTargets NAMESPACE attn:: DESTINATION ${package})

set(generated ${CMAKE_BINARY_DIR}/package)
configure_package_config_file(kernels-gen/attnConfig.cmake.in ${generated}/attnConfig.cmake
  INSTALL_DESTINATION ${package})
write_basic_package_version_file(${generated}/attnConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${generated}/attnConfig.cmake ${generated}/attnConfigVersion.cmake
  kernels-gen/AttnKernels.cmake DESTINATION ${package})
# Relative, so that the whole tree can be moved and --prefix be given at install time.
file(RELATIVE_PATH ATTN_PC_TO_PREFIX /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
configure_file(kernels-gen/attn.pc.in ${generated}/attn.pc @ONLY)
install(FILES ${generated}/attn.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
