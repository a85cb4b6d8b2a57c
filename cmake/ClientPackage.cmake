# What `cmake --install BUILD --component client` installs: the client library as the CMake package
# weft, the command line, the contract's .proto files. The engine stays out (it needs LibTorch and is
# no library for others yet), and with it weft/local.h; weft/torch.h is a header for those who have
# LibTorch themselves.
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/weft")
# The library's parts; users link weft::client.
install(TARGETS weft_client weft_content_hash weft_graph weft_proto weft_proto_grpc weft_safetensors
  EXPORT weft
  ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}" COMPONENT client)
install(EXPORT weft
  NAMESPACE weft::
  FILE weftTargets.cmake
  DESTINATION "${package_dir}"
  COMPONENT client)
install(TARGETS weft RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}" COMPONENT client)
install(DIRECTORY "${PROJECT_SOURCE_DIR}/client/include/weft"
  DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}"
  COMPONENT client
  FILES_MATCHING PATTERN "*.h" PATTERN "*.inc" PATTERN local.h EXCLUDE)
install(DIRECTORY "${PROJECT_SOURCE_DIR}/proto/weft"
  DESTINATION "${CMAKE_INSTALL_DATADIR}/weft/proto"
  COMPONENT client
  FILES_MATCHING PATTERN "*.proto")

configure_package_config_file("${PROJECT_SOURCE_DIR}/cmake/weftConfig.cmake.in"
  "${PROJECT_BINARY_DIR}/cmake/weftConfig.cmake"
  INSTALL_DESTINATION "${package_dir}")
# Below 1.0 a minor version may change the interface.
write_basic_package_version_file("${PROJECT_BINARY_DIR}/cmake/weftConfigVersion.cmake"
  COMPATIBILITY SameMinorVersion)
install(FILES
    "${PROJECT_BINARY_DIR}/cmake/weftConfig.cmake"
    "${PROJECT_BINARY_DIR}/cmake/weftConfigVersion.cmake"
  DESTINATION "${package_dir}"
  COMPONENT client)
