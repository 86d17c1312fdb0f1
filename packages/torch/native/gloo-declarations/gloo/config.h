// Stands in for <gloo/config.h>: see declarations.h.
#include <gloo/declarations.h>
