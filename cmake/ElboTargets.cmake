# elbo_add_library(<name> <link libraries...>): one static library from the sources of this folder.
# elbo_device_sources(<target> <files.cu...>): compiles .cu files as this build needs them:
#   CUDA build      nvcc
#   simulator       C++ with tests/sim/cudasim.h forced in front
#   CPU build       C++; only the CPU half of each file remains

function(elbo_device_sources target)
  if(NOT ARGN)
    return()
  endif()
  target_sources(${target} PRIVATE ${ARGN})
  if(ELBO_HAS_CUDA AND NOT ELBO_SIM)
    set_source_files_properties(${ARGN} PROPERTIES LANGUAGE CUDA)
    return()
  endif()
  set(flags -xc++)
  if(ELBO_SIM)
    list(APPEND flags -include ${PROJECT_SOURCE_DIR}/tests/sim/cudasim.h)
    if(ELBO_RACECHECK)
      # Compiled for ThreadSanitizer but never linked with it: tests/sim/race_tsan.cpp receives the
      # calls. Only memory accesses are wanted, and all of them: by default a read just before a write
      # to the same place is left out, which would hide reads of unwritten memory.
      list(APPEND flags -fsanitize=thread
        -mllvm -tsan-instrument-read-before-write=1
        -mllvm -tsan-instrument-atomics=0
        -mllvm -tsan-instrument-func-entry-exit=0)
    endif()
  endif()
  set_source_files_properties(${ARGN} PROPERTIES LANGUAGE CXX COMPILE_OPTIONS "${flags}")
endfunction()

function(elbo_add_library name)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cpp)
  file(GLOB_RECURSE device_sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cu)
  if(NOT ELBO_HAS_CUDA)
    list(FILTER sources EXCLUDE REGEX "_cuda\\.cpp$")
  endif()
  if(NOT ELBO_HAS_CUDA OR ELBO_SIM)
    list(FILTER device_sources EXCLUDE REGEX "_sm90\\.cu$") # beyond the simulator: wgmma, TMA, clusters
  endif()
  add_library(${name} STATIC ${sources})
  elbo_device_sources(${name} ${device_sources})
  target_link_libraries(${name} PUBLIC elbo_options elbo_cuda ${ARGN})
endfunction()
