// How exactly float32 matrix products are computed where the hardware has a faster, coarser way.
#include <ATen/Context.h>

#include "handle.h"

namespace fabric {

namespace {

napi_value getMatmulPrecision(napi_env env, napi_callback_info) {
  return guarded(env, "getFloat32MatmulPrecision", [&]() -> napi_value {
    switch (at::globalContext().float32MatmulPrecision()) {
      case at::Float32MatmulPrecision::HIGHEST:
        return jsString(env, "highest");
      case at::Float32MatmulPrecision::HIGH:
        return jsString(env, "high");
      default:
        return jsString(env, "medium");
    }
  });
}

napi_value setMatmulPrecision(napi_env env, napi_callback_info info) {
  return guarded(env, "setFloat32MatmulPrecision", [&]() -> napi_value {
    Args<1> a(env, info);
    at::globalContext().setFloat32MatmulPrecision(stringOf(env, a[0], "precision"));
    return jsUndefined(env);
  });
}

}  // namespace

const std::vector<Export>& matmulPrecisionExports() {
  static const std::vector<Export> table = {{"getFloat32MatmulPrecision", getMatmulPrecision},
                                            {"setFloat32MatmulPrecision", setMatmulPrecision}};
  return table;
}

}  // namespace fabric
