// See waiting.h.
#include "waiting.h"

namespace fabric {

namespace {

using Word = std::atomic<int32_t>;
static_assert(sizeof(Word) == sizeof(int32_t), "an element of an Int32Array");

// Where nobody looks.
Word unseen[2];
// The waits of now, and behind it those that have begun so far.
std::atomic<Word*> words{unseen};

// showWaiting(array, index): from now on `array[index]` is the number of waits of this process, and `array[index + 1]`
// how many have begun. The memory has to stay as long as the process.
napi_value showWaiting(napi_env env, napi_callback_info info) {
  return guarded(env, "showWaiting", [&]() -> napi_value {
    Args<2> a(env, info);
    napi_typedarray_type type;
    size_t length = 0;
    void* data = nullptr;
    const int64_t index = intOf(env, a[1], "index");
    if (napi_get_typedarray_info(env, a[0], &type, &length, &data, nullptr, nullptr) != napi_ok ||
        type != napi_int32_array || index < 0 || static_cast<size_t>(index) + 2 > length) {
      throw JsError("TypeError", "internal: showWaiting expects an Int32Array and an index in it.");
    }
    words.store(static_cast<Word*>(data) + index);
    return jsUndefined(env);
  });
}

}  // namespace

// A wait that began before the memory was shown ends in the same place.
Waiting::Waiting() : words_(words.load()) {
  words_[1].fetch_add(1);
  words_[0].fetch_add(1);
}

Waiting::~Waiting() { words_[0].fetch_sub(1); }

const std::vector<Export>& waitingExports() {
  static const std::vector<Export> table = {{"showWaiting", showWaiting}};
  return table;
}

}  // namespace fabric
