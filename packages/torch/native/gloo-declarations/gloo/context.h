// Stands in for <gloo/context.h>: see declarations.h.
#include <gloo/declarations.h>
