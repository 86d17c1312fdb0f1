// A socket that is bound to one address of this machine, so that a store listens there and not on every interface.
#pragma once

#include <cstdint>
#include <string>

namespace fabric {

// Binds to `host` when it is "localhost" or an address (not a name, which other machines may understand differently) of
// this machine; -1 otherwise, also where the port is taken. Port 0 is replaced by the one that the system chose.
int boundSocket(const std::string& host, uint16_t& port);

}  // namespace fabric
