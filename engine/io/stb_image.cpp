// The only file that compiles stb_image.
#define STB_IMAGE_IMPLEMENTATION
#include "engine/io/stb_image_config.h"
