# Compile options shared by every target, as the interface target elbo_options.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
if(ELBO_SIM)
  # Compiled more than it is run; -O3 takes half as long again.
  set(CMAKE_CXX_FLAGS_RELEASE "-O1 -DNDEBUG")
else()
  set(CMAKE_CXX_FLAGS_RELEASE "-O3 -DNDEBUG")
endif()
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()

find_program(ELBO_CCACHE ccache)
if(ELBO_CCACHE)
  # What ccache wants to be told before it caches what includes a precompiled header.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros
    ${ELBO_CCACHE})
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${ELBO_CCACHE})
endif()

find_package(Threads REQUIRED)

add_library(elbo_options INTERFACE)
target_include_directories(elbo_options INTERFACE ${PROJECT_SOURCE_DIR})
target_link_libraries(elbo_options INTERFACE Threads::Threads)

# Contraction is off because the same formula must give the same bits on both devices; fused
# multiply-adds are written out as fmaf where they are wanted.
# -fno-math-errno and -fno-trapping-math change no value: nobody reads errno or the FP exception flags
# here, and without them sqrtf and the two sides of a ternary do not vectorise.
set(ELBO_HOST_FLAGS -Wall -Wextra -Werror -Wno-unknown-pragmas -ffp-contract=off
  -fno-math-errno -fno-trapping-math)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # GCC 12 gives false positives for these on std::string and std::vector when it optimises (GCC PR
  # 105329, 105651); whether it does can depend on the length of a path in the text.
  list(APPEND ELBO_HOST_FLAGS -Wno-restrict -Wno-stringop-overflow -Wno-stringop-overread -Wno-array-bounds)
elseif(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  # In C++20 std::stable_sort of libstdc++ 12 calls a function that the same library deprecates.
  list(APPEND ELBO_HOST_FLAGS -Wno-deprecated-declarations)
endif()
target_compile_options(elbo_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:${ELBO_HOST_FLAGS}>)

if(ELBO_SANITIZE)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # GCC's own advice: instrumented code gives this warning false positives.
    target_compile_options(elbo_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Wno-maybe-uninitialized>)
  endif()
  target_compile_options(elbo_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-fsanitize=${ELBO_SANITIZE}
    -fno-sanitize-recover=all -fno-omit-frame-pointer>)
  if(ELBO_SANITIZE MATCHES "address" AND ELBO_SANITIZE MATCHES "undefined")
    # The address sanitizer reports those two as well. Of tests' own code nobody asks for undefined behaviour,
    # and it would double the time that they take to compile.
    target_compile_options(elbo_options INTERFACE
      $<$<COMPILE_LANGUAGE:CXX>:-fno-sanitize=null,object-size
        $<$<BOOL:$<TARGET_PROPERTY:ELBO_IS_TEST>>:-fno-sanitize=undefined>>)
  endif()
  target_link_options(elbo_options INTERFACE -fsanitize=${ELBO_SANITIZE})
endif()
if(ELBO_CHECKS)
  target_compile_definitions(elbo_options INTERFACE ELBO_CHECKS=1)
endif()
if(ELBO_OPENMP)
  find_package(OpenMP REQUIRED COMPONENTS CXX)
  target_compile_options(elbo_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:${OpenMP_CXX_FLAGS}>
    $<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=${OpenMP_CXX_FLAGS}>)
  target_link_libraries(elbo_options INTERFACE OpenMP::OpenMP_CXX)
endif()
