// Stands in for <gloo/rendezvous/store.h>: see declarations.h.
#include <gloo/declarations.h>
