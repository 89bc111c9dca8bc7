# Finds cuDNN 9 and defines CUDNN::cudnn. With CUDNN_HEADERS_ONLY set, as the simulator wants it, the
# library need not exist and is not linked.
find_path(CUDNN_INCLUDE_DIR NAMES cudnn_version.h
  HINTS /usr/local/cuda/include ENV CUDA_PATH ENV CUDNN_PATH PATH_SUFFIXES include)
find_library(CUDNN_LIBRARY NAMES cudnn libcudnn.so.9
  HINTS /usr/local/cuda ENV CUDA_PATH ENV CUDNN_PATH PATH_SUFFIXES lib64 lib)
if(CUDNN_INCLUDE_DIR)
  file(STRINGS "${CUDNN_INCLUDE_DIR}/cudnn_version.h" version_lines
    REGEX "define CUDNN_(MAJOR|MINOR|PATCHLEVEL) ")
  string(REGEX REPLACE ".*MAJOR +([0-9]+).*MINOR +([0-9]+).*PATCHLEVEL +([0-9]+).*" "\\1.\\2.\\3"
    CUDNN_VERSION "${version_lines}")
endif()
set(required CUDNN_INCLUDE_DIR)
if(NOT CUDNN_HEADERS_ONLY)
  list(PREPEND required CUDNN_LIBRARY)
endif()
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(CUDNN REQUIRED_VARS ${required} VERSION_VAR CUDNN_VERSION)
if(CUDNN_FOUND AND NOT TARGET CUDNN::cudnn)
  add_library(CUDNN::cudnn INTERFACE IMPORTED)
  set_target_properties(CUDNN::cudnn PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${CUDNN_INCLUDE_DIR}")
  if(NOT CUDNN_HEADERS_ONLY)
    set_target_properties(CUDNN::cudnn PROPERTIES INTERFACE_LINK_LIBRARIES "${CUDNN_LIBRARY}")
  endif()
endif()
