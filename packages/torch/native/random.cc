// Seeds and random number generators.
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Context.h>

#ifdef FABRIC_WITH_CUDA
#include <ATen/cuda/CUDAGeneratorImpl.h>
#endif

#include "generator.h"

namespace fabric {

namespace {

napi_value jsSeed(napi_env env, uint64_t seed) {
  napi_value result;
  check(napi_create_bigint_uint64(env, seed, &result));
  return result;
}

at::Generator& generatorOf(napi_env env, napi_value value) {
  return unwrap<GeneratorHandle>(env, value, Kind::Generator, "generator")->generator;
}

template <typename Use>
napi_value useGenerator(napi_env env, napi_callback_info info, const char* where, Use use) {
  return guarded(env, where, [&]() -> napi_value {
    Args<2> a(env, info);
    at::Generator& generator = generatorOf(env, a[0]);
    const std::lock_guard<std::mutex> lock(generator.mutex());
    return use(generator, a);
  });
}

napi_value manualSeed(napi_env env, napi_callback_info info) {
  return guarded(env, "manualSeed", [&]() -> napi_value {
    Args<1> a(env, info);
    at::manual_seed(static_cast<uint64_t>(intOf(env, a[0], "seed")));
    return jsUndefined(env);
  });
}

at::Generator defaultCpu() { return at::detail::getDefaultCPUGenerator(); }

napi_value initialSeed(napi_env env, napi_callback_info) {
  return guarded(env, "initialSeed", [&]() -> napi_value { return jsSeed(env, defaultCpu().current_seed()); });
}

napi_value randomSeed(napi_env env, napi_callback_info) {
  return guarded(env, "randomSeed", [&]() -> napi_value {
    const uint64_t seed = c10::detail::getNonDeterministicRandom();
    at::manual_seed(seed);
    return jsSeed(env, seed);
  });
}

napi_value createGenerator(napi_env env, napi_callback_info info) {
  return guarded(env, "createGenerator", [&]() -> napi_value {
    Args<1> a(env, info);
    const at::Device device = deviceOf(env, a[0]);
#ifdef FABRIC_WITH_CUDA
    if (device.is_cuda()) {
      return makeExternal(env, new GeneratorHandle(at::cuda::detail::createCUDAGenerator(device.index())));
    }
#endif
    if (!device.is_cpu())
      throw JsError("NotSupportedError", "There are no generators for the device " + device.str() + " here.");
    return makeExternal(env, new GeneratorHandle(at::detail::createCPUGenerator()));
  });
}

napi_value defaultGenerator(napi_env env, napi_callback_info info) {
  return guarded(env, "defaultGenerator", [&]() -> napi_value {
    Args<1> a(env, info);
    return makeExternal(env, new GeneratorHandle(at::globalContext().defaultGenerator(deviceOf(env, a[0]))));
  });
}

napi_value generatorManualSeed(napi_env env, napi_callback_info info) {
  return useGenerator(env, info, "generatorManualSeed", [&](at::Generator& g, const Args<2>& a) -> napi_value {
    g.set_current_seed(static_cast<uint64_t>(intOf(env, a[1], "seed")));
    return jsUndefined(env);
  });
}

napi_value generatorInitialSeed(napi_env env, napi_callback_info info) {
  return useGenerator(env, info, "generatorInitialSeed",
                      [&](at::Generator& g, const Args<2>&) { return jsSeed(env, g.current_seed()); });
}

napi_value generatorRandomSeed(napi_env env, napi_callback_info info) {
  return useGenerator(env, info, "generatorRandomSeed",
                      [&](at::Generator& g, const Args<2>&) { return jsSeed(env, g.seed()); });
}

napi_value generatorState(napi_env env, napi_callback_info info) {
  return useGenerator(env, info, "generatorState",
                      [&](at::Generator& g, const Args<2>&) { return wrapTensor(env, g.get_state()); });
}

napi_value setGeneratorState(napi_env env, napi_callback_info info) {
  return useGenerator(env, info, "setGeneratorState", [&](at::Generator& g, const Args<2>& a) -> napi_value {
    g.set_state(tensorOf(env, a[1], "state"));
    return jsUndefined(env);
  });
}

napi_value generatorDevice(napi_env env, napi_callback_info info) {
  return useGenerator(env, info, "generatorDevice",
                      [&](at::Generator& g, const Args<2>&) { return jsString(env, g.device().str()); });
}

}  // namespace

const std::vector<Export>& randomExports() {
  static const std::vector<Export> table = {{"manualSeed", manualSeed},
                                            {"initialSeed", initialSeed},
                                            {"randomSeed", randomSeed},
                                            {"createGenerator", createGenerator},
                                            {"defaultGenerator", defaultGenerator},
                                            {"generatorManualSeed", generatorManualSeed},
                                            {"generatorInitialSeed", generatorInitialSeed},
                                            {"generatorRandomSeed", generatorRandomSeed},
                                            {"generatorState", generatorState},
                                            {"setGeneratorState", setGeneratorState},
                                            {"generatorDevice", generatorDevice}};
  return table;
}

}  // namespace fabric
