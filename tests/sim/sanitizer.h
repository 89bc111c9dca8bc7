// CUDASIM_ASAN is defined when the compiler instruments for AddressSanitizer.
#pragma once

#if defined(__SANITIZE_ADDRESS__)
#define CUDASIM_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CUDASIM_ASAN 1
#endif
#endif

#ifdef CUDASIM_ASAN
#include <sanitizer/asan_interface.h>
#endif
