// The export table of the addon, and nothing else.
#include "callbacks.h"
#include "engine.h"
#include "handle.h"

namespace fabric {

static void freeEnvData(napi_env env, void* data, void*) {
  forgetEnvironment(env);
  delete static_cast<EnvData*>(data);
}

EnvData& envData(napi_env env) {
  void* data = nullptr;
  check(napi_get_instance_data(env, &data));
  return *static_cast<EnvData*>(data);
}

static void defineAll(napi_env env, napi_value exports, const std::vector<Export>& table) {
  for (const auto& [name, callback] : table) {
    napi_value function;
    check(napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, nullptr, &function));
    check(napi_set_named_property(env, exports, name, function));
  }
}

static napi_value initialise(napi_env env, napi_value exports) {
  auto* data = new EnvData;
  data->env = env;
  data->thread = std::this_thread::get_id();
  installAllocator();
  installEngine(env);
  setUpMemory(*data);
  rememberEnvironment(env);
  check(napi_set_instance_data(env, data, freeEnvData, nullptr));
  for (const auto* table : {&errorExports(), &dispatchExports(), &tensorExports(), &memoryExports(), &autogradExports(),
                            &callbackExports(), &engineExports(), &functionExports(), &autocastExports(),
                            &randomExports(), &cudaExports(), &flopExports(), &matmulPrecisionExports(),
                            &determinismExports(), &distributedExports(), &reducerExports(), &exchangeExports()}) {
    defineAll(env, exports, *table);
  }
  return exports;
}

}  // namespace fabric

NAPI_MODULE_INIT() {
  return fabric::guarded(env, "load", [&]() -> napi_value { return fabric::initialise(env, exports); });
}
