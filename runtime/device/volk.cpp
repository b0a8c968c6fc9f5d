// The Vulkan loader, opened at run time. Vulkan's function pointers live here.
#define VOLK_IMPLEMENTATION
#include <volk.h>
