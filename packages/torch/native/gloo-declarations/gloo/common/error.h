// Stands in for <gloo/common/error.h>: see declarations.h.
#include <gloo/declarations.h>
