// Stores: the small shared dictionaries through which processes find each other. Nothing in them is ever evaluated.
#include <thread>
#include <torch/csrc/distributed/c10d/FileStore.hpp>
#include <torch/csrc/distributed/c10d/HashStore.hpp>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include "distributed.h"
#include "listening-socket.h"

namespace fabric {

bool waitForKeys(c10d::Store& store, const std::vector<std::string>& keys, Milliseconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  auto pause = std::chrono::microseconds(500);
  const Waiting waiting;
  while (!store.check(keys)) {
    const auto now = std::chrono::steady_clock::now();
    if (now >= deadline) return false;
    std::this_thread::sleep_for(std::min<std::chrono::nanoseconds>(pause, deadline - now));
    pause = std::min(pause * 2, std::chrono::microseconds(20000));
  }
  return true;
}

namespace {

using Bytes = std::vector<uint8_t>;

StoreObject* storeOf(napi_env env, napi_value value) { return unwrap<StoreObject>(env, value, Kind::Store, "store"); }

Bytes bytesFrom(napi_env env, napi_value value) {
  napi_typedarray_type type;
  size_t length = 0;
  void* data = nullptr;
  if (!value || napi_get_typedarray_info(env, value, &type, &length, &data, nullptr, nullptr) != napi_ok ||
      type != napi_uint8_array) {
    throw JsError("TypeError", "Expected `value` to be a Uint8Array.");
  }
  const auto* first = static_cast<const uint8_t*>(data);
  return first ? Bytes(first, first + length) : Bytes();
}

napi_value jsBytes(napi_env env, const Bytes& bytes) {
  void* data = nullptr;
  napi_value buffer, result;
  check(napi_create_arraybuffer(env, bytes.size(), &data, &buffer));
  if (!bytes.empty()) std::copy(bytes.begin(), bytes.end(), static_cast<uint8_t*>(data));
  check(napi_create_typedarray(env, napi_uint8_array, bytes.size(), buffer, 0, &result));
  return result;
}

std::vector<std::string> stringsOf(napi_env env, napi_value array, const char* what) {
  uint32_t length = 0;
  if (!array || napi_get_array_length(env, array, &length) != napi_ok) {
    throw JsError("TypeError", std::string("Expected `") + what + "` to be an array of strings.");
  }
  std::vector<std::string> result(length);
  for (uint32_t i = 0; i < length; i++) {
    napi_value item;
    check(napi_get_element(env, array, i, &item));
    result[i] = stringOf(env, item, what);
  }
  return result;
}

// Runs a store's call with an error that names the store.
template <typename Body>
auto inStore(const std::string& description, const std::string& call, Body&& body) {
  try {
    return body();
  } catch (const JsError&) {
    throw;
  } catch (...) {
    throw JsError("DistributedError",
                  call + " failed on the " + description + ": " + describeException(std::current_exception()).what(),
                  "The process or the folder that holds the store is gone or cannot be reached.", "ERR_STORE");
  }
}

[[noreturn]] void throwAbsent(const StoreObject& object, c10d::Store& store, const std::vector<std::string>& keys,
                              Milliseconds timeout) {
  std::string absent;
  for (const auto& key : keys) {
    if (!store.check({key})) absent += (absent.empty() ? "\"" : ", \"") + key + "\"";
  }
  throw JsError("DistributedError",
                "The " + object.description + " had no value for " + absent + " within " + durationText(timeout) + ".",
                "The process that sets it did not start, ended early or is late.", "ERR_STORE_TIMEOUT");
}

// Every call that may block takes a last argument `sync`: in place, or on another thread with a promise.
struct StoreCall {
  StoreCall(napi_env env, napi_value value) : object(*storeOf(env, value)), store(object.store) {}
  // A copy: the external may be collected while the call runs.
  StoreObject object;
  c10::intrusive_ptr<c10d::Store> store;
};

napi_value fileStore(napi_env env, napi_callback_info info) {
  return guarded(env, "fileStore", [&]() -> napi_value {
    Args<2> a(env, info);
    const std::string path = stringOf(env, a[0], "path");
    const int size = static_cast<int>(intOf(env, a[1], "worldSize"));
    auto store = c10::make_intrusive<c10d::FileStore>(path, size);
    return makeExternal(env, new StoreObject(std::move(store), "file store at " + path));
  });
}

napi_value hashStore(napi_env env, napi_callback_info) {
  return guarded(env, "hashStore", [&]() -> napi_value {
    return makeExternal(env, new StoreObject(c10::make_intrusive<c10d::HashStore>(), "in-process store"));
  });
}

napi_value prefixStore(napi_env env, napi_callback_info info) {
  return guarded(env, "prefixStore", [&]() -> napi_value {
    Args<2> a(env, info);
    const StoreObject* inner = storeOf(env, a[1]);
    auto store = c10::make_intrusive<c10d::PrefixStore>(stringOf(env, a[0], "prefix"), inner->store);
    return makeExternal(env, new StoreObject(std::move(store), inner->description));
  });
}

// tcpStore(host, port, worldSize, isMaster, timeoutMs, sync) => { store, port }
napi_value tcpStore(napi_env env, napi_callback_info info) {
  return guarded(env, "tcpStore", [&]() -> napi_value {
    Args<6> a(env, info);
    const std::string host = stringOf(env, a[0], "host");
    c10d::TCPStoreOptions options;
    const int64_t port = intOf(env, a[1], "port");
    options.port = static_cast<uint16_t>(port);
    options.isServer = boolOf(env, a[3], "isMaster");
    options.numWorkers = static_cast<size_t>(intOf(env, a[2], "worldSize"));
    // The group's own rendezvous says who is missing; the store would only say that somebody is.
    options.waitWorkers = false;
    // A job that ends its group and makes another one meets at the same port, where the first store may still listen.
    options.multiTenant = true;
    options.timeout = Milliseconds(intOf(env, a[4], "timeoutMs"));
    compat::useClassicServer(options);
    auto made = std::make_shared<c10::intrusive_ptr<c10d::TCPStore>>();
    return settle(
        env, boolOf(env, a[5], "sync"),
        [made, host, options]() mutable {
          try {
            if (options.isServer) compat::useSocket(options, [&](uint16_t& port) { return boundSocket(host, port); });
            *made = c10::make_intrusive<c10d::TCPStore>(host, options);
          } catch (...) {
            const std::string address = host + ":" + std::to_string(options.port);
            const std::string text = describeException(std::current_exception()).what();
            if (options.isServer) {
              throw JsError(
                  "DistributedError", "The store could not listen on " + address + ": " + text,
                  "Another process uses the port or the address is not this machine's: choose another MASTER_PORT.",
                  "ERR_STORE");
            }
            throw JsError(
                "DistributedError",
                "The store at " + address + " could not be reached within " + durationText(options.timeout) + ": " +
                    text,
                "Check that rank 0 runs there and that MASTER_ADDR and MASTER_PORT are the same on all hosts.",
                "ERR_STORE_TIMEOUT");
          }
        },
        [made, host](napi_env env) {
          napi_value result;
          const uint16_t bound = (*made)->getPort();
          check(napi_create_object(env, &result));
          auto* object = new StoreObject(*made, "store at " + host + ":" + std::to_string(bound));
          check(napi_set_named_property(env, result, "store", makeExternal(env, object)));
          check(napi_set_named_property(env, result, "port", jsInt(env, bound)));
          return result;
        });
  });
}

napi_value storeSet(napi_env env, napi_callback_info info) {
  return guarded(env, "storeSet", [&]() -> napi_value {
    Args<4> a(env, info);
    StoreCall call(env, a[0]);
    return settle(
        env, boolOf(env, a[3], "sync"),
        [call, key = stringOf(env, a[1], "key"), value = bytesFrom(env, a[2])] {
          inStore(call.object.description, "set", [&] { call.store->set(key, value); });
        },
        nullptr);
  });
}

// storeGet(store, key, timeoutMs, sync)
napi_value storeGet(napi_env env, napi_callback_info info) {
  return guarded(env, "storeGet", [&]() -> napi_value {
    Args<4> a(env, info);
    StoreCall call(env, a[0]);
    auto value = std::make_shared<Bytes>();
    return settle(
        env, boolOf(env, a[3], "sync"),
        [call, value, key = stringOf(env, a[1], "key"), timeout = Milliseconds(intOf(env, a[2], "timeoutMs"))] {
          inStore(call.object.description, "get", [&] {
            if (!waitForKeys(*call.store, {key}, timeout)) throwAbsent(call.object, *call.store, {key}, timeout);
            *value = call.store->get(key);
          });
        },
        [value](napi_env env) { return jsBytes(env, *value); });
  });
}

// storeWait(store, keys, timeoutMs, sync)
napi_value storeWait(napi_env env, napi_callback_info info) {
  return guarded(env, "storeWait", [&]() -> napi_value {
    Args<4> a(env, info);
    StoreCall call(env, a[0]);
    return settle(
        env, boolOf(env, a[3], "sync"),
        [call, keys = stringsOf(env, a[1], "keys"), timeout = Milliseconds(intOf(env, a[2], "timeoutMs"))] {
          inStore(call.object.description, "wait", [&] {
            if (!waitForKeys(*call.store, keys, timeout)) throwAbsent(call.object, *call.store, keys, timeout);
          });
        },
        nullptr);
  });
}

napi_value storeAdd(napi_env env, napi_callback_info info) {
  return guarded(env, "storeAdd", [&]() -> napi_value {
    Args<4> a(env, info);
    StoreCall call(env, a[0]);
    auto sum = std::make_shared<int64_t>(0);
    return settle(
        env, boolOf(env, a[3], "sync"),
        [call, sum, key = stringOf(env, a[1], "key"), amount = intOf(env, a[2], "amount")] {
          *sum = inStore(call.object.description, "add", [&] { return call.store->add(key, amount); });
        },
        [sum](napi_env env) { return jsInt(env, *sum); });
  });
}

napi_value storeCheck(napi_env env, napi_callback_info info) {
  return guarded(env, "storeCheck", [&]() -> napi_value {
    Args<3> a(env, info);
    StoreCall call(env, a[0]);
    auto found = std::make_shared<bool>(false);
    return settle(
        env, boolOf(env, a[2], "sync"),
        [call, found, keys = stringsOf(env, a[1], "keys")] {
          *found = inStore(call.object.description, "check", [&] { return call.store->check(keys); });
        },
        [found](napi_env env) { return jsBool(env, *found); });
  });
}

napi_value storeDeleteKey(napi_env env, napi_callback_info info) {
  return guarded(env, "storeDeleteKey", [&]() -> napi_value {
    Args<3> a(env, info);
    StoreCall call(env, a[0]);
    auto found = std::make_shared<bool>(false);
    return settle(
        env, boolOf(env, a[2], "sync"),
        [call, found, key = stringOf(env, a[1], "key")] {
          *found = inStore(call.object.description, "deleteKey", [&] { return call.store->deleteKey(key); });
        },
        [found](napi_env env) { return jsBool(env, *found); });
  });
}

napi_value storeNumKeys(napi_env env, napi_callback_info info) {
  return guarded(env, "storeNumKeys", [&]() -> napi_value {
    Args<2> a(env, info);
    StoreCall call(env, a[0]);
    auto count = std::make_shared<int64_t>(0);
    return settle(
        env, boolOf(env, a[1], "sync"),
        [call, count] {
          *count = inStore(call.object.description, "numKeys", [&] { return call.store->getNumKeys(); });
        },
        [count](napi_env env) { return jsInt(env, *count); });
  });
}

}  // namespace

const std::vector<Export>& storeExports() {
  static const std::vector<Export> table = {
      {"fileStore", fileStore},           {"tcpStore", tcpStore},        {"hashStore", hashStore},
      {"prefixStore", prefixStore},       {"storeSet", storeSet},        {"storeGet", storeGet},
      {"storeWait", storeWait},           {"storeAdd", storeAdd},        {"storeCheck", storeCheck},
      {"storeDeleteKey", storeDeleteKey}, {"storeNumKeys", storeNumKeys}};
  return table;
}

}  // namespace fabric
