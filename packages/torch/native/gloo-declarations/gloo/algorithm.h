// Stands in for <gloo/algorithm.h>: see declarations.h.
#include <gloo/declarations.h>
