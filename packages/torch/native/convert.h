// JavaScript values, looked at once, and their conversion to the engine's values by a plan made from the schema.
#pragma once

#include <ATen/core/function_schema.h>
#include <ATen/core/ivalue.h>
#include <c10/util/SmallVector.h>

#include "handle.h"

namespace fabric {

// What an argument is in JavaScript.
enum class Js : uint8_t { Undefined, Null, Bool, Number, BigInt, String, Tensor, Generator, Array, Other };

struct JsValue;

// The items of an array. Made for values that have none: those are most, and cost one pointer.
class JsItems {
 public:
  void allocate(uint32_t count);
  uint32_t size() const { return count_; }
  JsValue* begin() const { return items_.get(); }
  JsValue* end() const;
  JsValue& operator[](size_t i) const;

 private:
  struct Delete {
    void operator()(JsValue* items) const;
  };
  std::unique_ptr<JsValue[], Delete> items_;
  uint32_t count_ = 0;
};

struct JsValue {
  Js kind = Js::Undefined;
  bool whole = false;  // a number without fraction
  bool flag = false;   // the value of a boolean
  napi_value raw = nullptr;
  union {
    double number = 0;
    Object* object;  // of a Tensor or a Generator
  };
  int64_t integer = 0;
  JsItems items;
};

inline void JsItems::Delete::operator()(JsValue* items) const { delete[] items; }
inline void JsItems::allocate(uint32_t count) {
  items_.reset(new JsValue[count]);
  count_ = count;
}
inline JsValue* JsItems::end() const { return items_.get() + count_; }
inline JsValue& JsItems::operator[](size_t i) const { return items_[i]; }

// Stands for a list of numbers in memory that JavaScript writes: first how many, then the numbers.
struct NumberList final : Object {
  explicit NumberList(const double* memory) : Object(Kind::NumberList), memory(memory) {}
  const double* memory;
};

// Looks at a value (and the items of an array) once; `result` is new.
void classify(napi_env env, napi_value value, JsValue* result);
// "float32 [2, 3]", "1.5", "\"abc\"", "array of 3": for error texts.
std::string describe(napi_env env, const JsValue& value);

enum class Tag : uint8_t {
  Tensor,
  Int,
  Float,
  Bool,
  Scalar,
  String,
  Dtype,
  Layout,
  MemoryFormat,
  Device,
  Generator,
  IntList,
  FloatList,
  BoolList,
  ScalarList,
  StringList,
  TensorList,
  OptionalTensorList,
  Unsupported
};

// How one argument of a schema is filled.
struct ArgPlan {
  std::string name;       // as in the schema
  std::string camelName;  // as users type it
  Tag tag = Tag::Unsupported;
  bool optional = false;  // accepts null
  bool keywordOnly = false;
  bool hasDefault = false;
  bool isOut = false;
  bool takesNumber = false;  // a tensor for which a plain number may stand
  int fixedSize = 0;         // N of int[N], where one number stands for N equal ones
  c10::IValue fallback;      // the default
  const c10::Argument* schema = nullptr;
};

Tag tagOf(const c10::TypePtr& type, bool* optional);
// True when the value fits; `lenient` also takes numbers for tensors and one-element tensors for numbers.
bool matches(napi_env env, const ArgPlan& plan, const JsValue& value, bool lenient);
// The engine's value. Call only after `matches`.
c10::IValue convert(napi_env env, const ArgPlan& plan, const JsValue& value);
// A result of an operator. `tag` tells dtypes from integers.
napi_value revert(napi_env env, const c10::IValue& value, Tag tag);

std::string camelCase(const std::string& name);

}  // namespace fabric
