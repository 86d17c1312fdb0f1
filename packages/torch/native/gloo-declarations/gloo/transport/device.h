// Stands in for <gloo/transport/device.h>: see declarations.h.
#include <gloo/declarations.h>
