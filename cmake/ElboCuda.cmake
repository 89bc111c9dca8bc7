# Finds the CUDA half. Sets ELBO_HAS_CUDA (real or simulated) and the interface target elbo_cuda,
# which carries headers and libraries of whichever it is.

add_library(elbo_cuda INTERFACE)
set(ELBO_HAS_CUDA OFF)

if(ELBO_SIM)
  find_path(ELBO_CUDA_INCLUDE cuda_runtime.h HINTS /usr/local/cuda/include ENV CUDA_PATH PATH_SUFFIXES include)
  if(NOT ELBO_CUDA_INCLUDE)
    message(FATAL_ERROR "ELBO_SIM needs CUDA's headers (cuda_runtime.h); none found. Set ELBO_CUDA_INCLUDE.")
  endif()
  set(ELBO_HAS_CUDA ON)
  target_include_directories(elbo_cuda SYSTEM INTERFACE ${ELBO_CUDA_INCLUDE})
  target_link_libraries(elbo_cuda INTERFACE elbo_cudasim)
  target_compile_definitions(elbo_cuda INTERFACE ELBO_SIM=1)
  message(STATUS "CUDA: simulated (tests/sim), headers from ${ELBO_CUDA_INCLUDE}")
elseif(NOT ELBO_CUDA STREQUAL "OFF")
  # nvcc may be installed and yet off PATH.
  if(NOT CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX} AND EXISTS /usr/local/cuda/bin/nvcc)
    set(CMAKE_CUDA_COMPILER /usr/local/cuda/bin/nvcc)
  endif()
  include(CheckLanguage)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    # "native" is a hard error on a build machine without a GPU, so the default names what we ship.
    if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES AND NOT DEFINED ENV{CUDAARCHS})
      set(CMAKE_CUDA_ARCHITECTURES 80-real 90-real 90-virtual)
    endif()
    enable_language(CUDA)
    # Debian's CMake 3.25.1 does not know that nvcc takes C++20; said here, where later ones do know.
    if(NOT DEFINED CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
      set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
      set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
    endif()
    set(CMAKE_CUDA_STANDARD 20)
    set(CMAKE_CUDA_STANDARD_REQUIRED ON)
    find_package(CUDAToolkit REQUIRED)
    set(ELBO_HAS_CUDA ON)
    target_link_libraries(elbo_cuda INTERFACE CUDA::cudart_static CUDA::cublasLt)
    # --fmad=false: see the note on contraction in ElboOptions.cmake.
    target_compile_options(elbo_options INTERFACE $<$<COMPILE_LANGUAGE:CUDA>:-lineinfo --fmad=false
      -Werror=all-warnings --expt-relaxed-constexpr -Xcompiler=-Wall,-Wextra,-Werror,-Wno-unknown-pragmas,-ffp-contract=off,-fno-math-errno,-fno-trapping-math>)
    message(STATUS "CUDA: ${CMAKE_CUDA_COMPILER} ${CMAKE_CUDA_COMPILER_VERSION}, architectures ${CMAKE_CUDA_ARCHITECTURES}")
  elseif(ELBO_CUDA STREQUAL "ON")
    message(FATAL_ERROR "ELBO_CUDA=ON but no CUDA compiler was found. Put nvcc on PATH, set CUDACXX, or use ELBO_CUDA=OFF.")
  else()
    message(STATUS "CUDA: not found, building for the CPU only")
  endif()
endif()

if(ELBO_HAS_CUDA)
  target_compile_definitions(elbo_cuda INTERFACE ELBO_HAS_CUDA=1)
endif()
