cmake_minimum_required(VERSION 3.25)
# Writes OUTPUT, a header with the commit that is being built. Run at every build; the file is only
# touched when the commit changes, so that nothing is recompiled without need.
execute_process(COMMAND git describe --always --dirty WORKING_DIRECTORY ${SOURCE_DIR}
  OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE status)
if(NOT status EQUAL 0)
  set(commit "")
endif()
file(CONFIGURE OUTPUT ${OUTPUT} CONTENT "#define ELBO_GIT_COMMIT \"@commit@\"\n" @ONLY)
